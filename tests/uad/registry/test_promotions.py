from datetime import UTC, datetime, timedelta

from uad.registry.audit import Entry, earlier, external, made, new_entry, read_entries
from uad.registry.types import Kind, Promotion

START = datetime(2026, 1, 1, tzinfo=UTC)


def move(
    source: str | None, target: str | None, kind: Kind = "promote", hour: int = 0
) -> Promotion:
    at = START + timedelta(hours=hour)
    return Promotion("cookie", "champion", source, target, kind, "mia", "because", at)


def entry(source: str | None, target: str | None, *, done: bool, kind: Kind = "promote") -> Entry:
    return Entry("key", move(source, target, kind), done)


def test_an_entry_is_read_back_as_it_was_written() -> None:
    written = new_entry(move("1", "2"))
    assert read_entries("cookie", "champion", {written.key: written.value}) == [written]


def test_entries_are_read_in_order_of_time() -> None:
    tags = {e.key: e.value for e in (new_entry(move("2", "3", hour=2)), new_entry(move("1", "2")))}
    assert [e.move.to_version for e in read_entries("cookie", "champion", tags)] == ["2", "3"]


def test_damaged_and_foreign_tags_are_left_out() -> None:
    good = new_entry(move("1", "2"))
    tags = {good.key: good.value, "uad.move.x": "{", "uad.move.y": "{}", "owner": "mia"}
    assert read_entries("cookie", "champion", tags) == [good]


def test_an_intent_counts_only_if_the_alias_is_where_it_meant_to_put_it() -> None:
    entries = [entry(None, "1", done=True), entry("1", "2", done=False)]
    assert [m.to_version for m in made(entries, "2")] == ["1", "2"]
    assert [m.to_version for m in made(entries, "1")] == ["1"]


def test_an_intent_that_others_overtook_does_not_count() -> None:
    entries = [entry(None, "1", done=False), entry(None, "2", done=True)]
    assert [m.to_version for m in made(entries, "1")] == ["2"]


def test_two_reports_of_one_external_move_count_once() -> None:
    entries = [entry(None, "1", done=True)] + [entry("1", "2", done=True, kind="external")] * 2
    assert [m.to_version for m in made(entries, "2")] == ["1", "2"]


def test_a_move_is_external_if_the_alias_is_not_where_the_audit_left_it() -> None:
    assert external("cookie", "champion", [move(None, "1")], "1") is None
    found = external("cookie", "champion", [move(None, "1")], "2")
    assert found is not None
    assert (found.from_version, found.to_version, found.kind) == ("1", "2", "external")


def test_versions_to_go_back_to_are_listed_nearest_first() -> None:
    moves = [move(None, "1"), move("1", "2"), move("2", "3")]
    assert earlier(moves) == ["2", "1"]
    assert earlier([*moves, move("3", "2", "rollback")]) == ["1"]
    assert earlier([]) == []
