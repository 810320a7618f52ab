from datetime import UTC, datetime, timedelta

from uad.monitoring.score_log import LoggedScore, ScoreLog

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)


def test_scores_come_back_in_order_across_days() -> None:
    journal = ScoreLog()
    late, early = MIDNIGHT + timedelta(minutes=1), MIDNIGHT - timedelta(minutes=1)
    journal.add("cookie", "3", "paddle/fp32", [(0.5, True), (0.2, False)], at=late)
    journal.add("cookie", "3", "paddle/fp32", [(0.1, False)], at=early)
    journal.add("cookie", "4", "paddle/fp32", [(9.0, True)], at=late)

    assert journal.read("cookie", "3", MIDNIGHT - timedelta(hours=1)) == [
        LoggedScore(early, 0.1, False, "paddle/fp32"),
        LoggedScore(late, 0.5, True, "paddle/fp32"),
        LoggedScore(late, 0.2, False, "paddle/fp32"),
    ]
    assert len(journal.read("cookie", "3", MIDNIGHT)) == 2
    assert [str(day) for _, day in journal.files("cookie", "3")] == ["2026-11-23", "2026-11-24"]


def test_a_line_cut_short_by_a_crash_costs_only_itself() -> None:
    journal = ScoreLog()
    journal.add("cookie", "3", "paddle/fp32", [(0.5, True), (0.2, False)], at=MIDNIGHT)
    [(file, _)] = journal.files("cookie", "3")
    file.write_bytes(file.read_bytes() + b"[17956\xff\xfe\0\n")
    file.with_name("copy of today.jsonl").write_bytes(file.read_bytes())
    assert len(journal.read("cookie", "3", MIDNIGHT)) == 2


def test_a_product_without_scores_has_none() -> None:
    assert ScoreLog().read("cookie", "1", MIDNIGHT) == []


def test_the_scores_of_one_answer_are_found_whichever_version_judged_it() -> None:
    journal = ScoreLog()
    journal.add("cookie", "3", "paddle/fp32", [(0.1, False, "a"), (0.2, True, "b")], at=MIDNIGHT)
    journal.add("cookie", "4", "paddle/fp32", [(0.3, True, "b.1"), (9.0, True, "bb")], at=MIDNIGHT)
    journal.add("nut", "1", "paddle/fp32", [(0.4, False, "b.2")], at=MIDNIGHT)
    found = journal.of_answer("cookie", "b", MIDNIGHT)
    assert {each.image: each.is_anomalous for each in found} == {"b": True, "b.1": True}
    assert journal.of_answer("cookie", "b", MIDNIGHT + timedelta(days=1)) == []
    assert journal.of_answer("bolt", "b", MIDNIGHT) == []
