import threading
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient

from uad.errors import RegistryError
from uad.registry import ModelRegistry, Promotion, alias_move
from uad.registry.connection import connect

Moves = list[tuple[str | None, str | None, str]]


def steps(history: list[Promotion]) -> Moves:
    return [(move.from_version, move.to_version, move.kind) for move in history]


def test_a_promotion_is_written_down_with_who_when_from_to_and_why(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")
    made = cookie.promote("cookie", "2", reason="fewer false alarms", actor="mia")
    assert cookie.history("cookie")[-1] == made
    assert (made.from_version, made.to_version) == ("1", "2")
    assert (made.actor, made.reason) == ("mia", "fewer false alarms")
    told = cookie.version("cookie", "2").tags["uad.champion"]
    assert "by mia from version 1: fewer false alarms" in told


def test_promoting_the_champion_again_writes_nothing(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")
    again = cookie.promote("cookie", "1")
    assert (again.from_version, again.to_version) == ("1", "1")
    assert len(cookie.history("cookie")) == 1


def test_promoting_a_version_that_does_not_exist_changes_nothing(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")
    with pytest.raises(RegistryError, match=r"no version 9 \(it has: 3, 2, 1\)"):
        cookie.promote("cookie", "9")
    champion = cookie.champion("cookie")
    assert champion is not None
    assert champion.version == "1"


def test_each_rollback_goes_one_step_further_back_until_nothing_is_left(
    cookie: ModelRegistry,
) -> None:
    for version in ("1", "2", "3"):
        cookie.promote("cookie", version)
    assert cookie.rollback("cookie").to_version == "2"
    assert cookie.rollback("cookie").to_version == "1"
    with pytest.raises(RegistryError, match="no earlier champion"):
        cookie.rollback("cookie")


def test_a_rollback_does_not_go_back_to_what_was_rolled_back(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")
    cookie.promote("cookie", "2")
    cookie.rollback("cookie")
    cookie.promote("cookie", "3")
    assert cookie.rollback("cookie").to_version == "1"


def test_a_rollback_passes_over_a_deleted_version(cookie: ModelRegistry) -> None:
    for version in ("1", "2", "3"):
        cookie.promote("cookie", version)
    MlflowClient(cookie.uri).delete_model_version("cookie", "2")
    assert cookie.rollback("cookie").to_version == "1"


def test_a_move_made_elsewhere_is_recorded_as_external(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")
    MlflowClient(cookie.uri).set_registered_model_alias("cookie", "champion", "3")
    assert cookie.note_external("cookie") is not None
    assert cookie.note_external("cookie") is None
    expected: Moves = [(None, "1", "promote"), ("1", "3", "external")]
    assert steps(cookie.history("cookie")) == expected


def test_a_rollback_undoes_a_move_made_elsewhere(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")
    MlflowClient(cookie.uri).set_registered_model_alias("cookie", "champion", "3")
    assert cookie.rollback("cookie").to_version == "1"
    assert [kind for *_, kind in steps(cookie.history("cookie"))] == [
        "promote",
        "external",
        "rollback",
    ]


def test_an_alias_removed_elsewhere_can_be_rolled_back(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "2")
    MlflowClient(cookie.uri).delete_registered_model_alias("cookie", "champion")
    assert cookie.champion("cookie") is None
    assert cookie.rollback("cookie").to_version == "2"


def test_a_decision_against_an_old_champion_is_refused(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")
    cookie.promote("cookie", "2")
    with pytest.raises(RegistryError, match="is version 2 now, not 1"):
        cookie.promote("cookie", "3", expected="1")
    assert cookie.promote("cookie", "3", expected="2").from_version == "2"


def test_of_two_promotions_at_once_one_is_champion_and_both_are_in_the_audit(
    cookie: ModelRegistry,
) -> None:
    start = threading.Barrier(2)

    def promote(version: str) -> None:
        start.wait()
        ModelRegistry(cookie.uri).promote("cookie", version)

    threads = [threading.Thread(target=promote, args=(version,)) for version in ("2", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = cookie.history("cookie")
    champion = cookie.champion("cookie")
    assert champion is not None
    assert {first.to_version, second.to_version} == {"2", "3"}
    assert second.from_version == first.to_version
    assert champion.version == second.to_version


def test_of_two_decisions_against_one_champion_only_one_is_carried_out(
    cookie: ModelRegistry,
) -> None:
    cookie.promote("cookie", "1")
    start = threading.Barrier(2)
    outcomes: list[str] = []

    def promote(version: str) -> None:
        start.wait()
        try:
            ModelRegistry(cookie.uri).promote("cookie", version, expected="1")
            outcomes.append("made")
        except RegistryError:
            outcomes.append("refused")

    threads = [threading.Thread(target=promote, args=(version,)) for version in ("2", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "refused"]
    assert len(cookie.history("cookie")) == 2


def test_a_challenger_that_is_promoted_is_no_challenger_any_more(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "2", alias="challenger")
    cookie.promote("cookie", "2")
    assert cookie.version("cookie", "2").aliases == ("champion",)


class Rival:
    """An MLflow client on whose heels another machine moves the alias to version 3."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.client.set_registered_model_alias(name, alias, version)
        self.client.set_registered_model_alias(name, alias, "3")


def test_a_move_that_another_machine_overtook_is_refused_and_does_not_count(
    cookie: ModelRegistry,
) -> None:
    cookie.promote("cookie", "1")
    request = alias_move.Request("cookie", "champion", "2", "promote", "mia", "")
    connection = connect(cookie.uri)
    rival = replace(connection, client=Rival(connection.client))  # type: ignore[arg-type]
    with pytest.raises(RegistryError, match=r"another machine moved champion .* version 3"):
        alias_move.make(rival, request)
    expected: Moves = [(None, "1", "promote"), ("1", "3", "external")]
    assert steps(cookie.history("cookie")) == expected
