from pathlib import Path

import pytest

from tests.uad.monitoring.judged import keep, picture, word
from uad.data import ingest, load_dataset
from uad.data.versions import read_version
from uad.monitoring.feedback import MISSED, apply_feedback, opinions
from uad.monitoring.judged_images import JudgedImages


@pytest.fixture
def store() -> JudgedImages:
    return JudgedImages()


@pytest.fixture
def cookie(parts: Path) -> str:
    return ingest(parts, "cookie", progress=False).address


def kinds(store: JudgedImages) -> dict[str, str]:
    return {each.image.id: each.kind for each in opinions(store.marked("cookie"))}


def test_what_was_said_is_held_against_what_was_judged(store: JudgedImages) -> None:
    said = (("a", True, "good"), ("b", False, "defective"), ("c", True, "defective"))
    for number, (name, alarm, what) in enumerate((*said, ("d", False, "good"))):
        store.say(keep(store, name, alarm=alarm, seed=number), word(what))
    keep(store, "e", alarm=True, seed=9)
    assert kinds(store) == {
        "a": "false alarm",
        "b": "missed defect",
        "c": "confirmed defect",
        "d": "confirmed good",
    }


def test_the_last_word_of_each_person_counts_and_two_who_disagree_are_a_disagreement(
    store: JudgedImages,
) -> None:
    kept = keep(store, "a", alarm=True)
    store.say(kept, word("defective", "anna", 1))
    store.say(kept, word("good", "anna", 2))
    assert kinds(store) == {"a": "false alarm"}
    store.say(kept, word("defective", "ben", 3))
    assert kinds(store) == {"a": "disagreement"}


def test_a_correction_counts_though_the_clock_was_set_back_before_it(store: JudgedImages) -> None:
    first, again = (keep(store, name, alarm=True) for name in "ab")
    store.say(first, word("good", minute=60))
    store.say(again, word("defective", minute=5))
    assert list(kinds(store).values()) == ["confirmed defect"]
    store.say(first, word("good", minute=0))
    assert list(kinds(store).values()) == ["false alarm"]


def test_the_same_picture_judged_twice_is_one_opinion(store: JudgedImages) -> None:
    store.say(keep(store, "a", alarm=True, minute=0), word("good", "anna"))
    store.say(keep(store, "b", alarm=True, minute=1), word("defective", "ben"))
    assert kinds(store) == {"b": "disagreement"}


def test_false_alarms_train_and_missed_defects_test_and_calibration_stays_as_it_was(
    store: JudgedImages, cookie: str
) -> None:
    before = load_dataset(cookie)
    store.say(keep(store, "a", alarm=True, seed=1), word("good"))
    store.say(keep(store, "b", alarm=False, seed=2), word("defective"))
    applied = apply_feedback(store, "cookie")
    assert (applied.false_alarms, applied.missed_defects, applied.left_out) == (1, 1, ())
    after = load_dataset("cookie")
    assert after.version == applied.version.version != before.version
    assert {s.name for s in after.train} - {s.name for s in before.train} == {"feedback/a.png"}
    [missed] = set(after.test) - set(before.test)
    assert (missed.name, missed.label, missed.defect) == ("feedback/b.png", 1, MISSED)
    assert missed.path.read_bytes() == picture(2)
    assert (after.selection, after.calibration) == (before.selection, before.calibration)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_however_many_false_alarms_are_applied_none_selects_or_calibrates(
    store: JudgedImages, cookie: str, count: int
) -> None:
    before = load_dataset(cookie)
    for seed in range(count):
        store.say(keep(store, f"i{seed}", alarm=True, seed=seed), word("good"))
    apply_feedback(store, "cookie")
    after = load_dataset("cookie")
    assert (after.selection, after.calibration) == (before.selection, before.calibration)
    assert len(after.train) == len(before.train) + count
    assert after.test == before.test


def test_who_said_it_and_when_is_recorded_in_the_version(store: JudgedImages, cookie: str) -> None:
    store.say(keep(store, "a", alarm=True, version="3"), word("good", "anna", 61))
    [image] = [i for i in apply_feedback(store, "cookie").version.images if i.feedback]
    assert image.feedback is not None
    assert (image.feedback.who, image.feedback.judged_by) == ("anna (127.0.0.1)", "3")
    assert f"{image.feedback.at:%H:%M}" == "07:01"
    assert read_version("cookie").images[-1] == image


def test_applying_twice_changes_nothing_and_a_word_taken_back_is_taken_out(
    store: JudgedImages, cookie: str
) -> None:
    kept = keep(store, "a", alarm=True)
    store.say(kept, word("good", "anna", 1))
    assert apply_feedback(store, "cookie").changed
    assert not apply_feedback(store, "cookie").changed
    store.say(kept, word("defective", "anna", 2))
    taken_out = apply_feedback(store, "cookie").version
    assert taken_out.address == cookie


def test_feedback_outlives_a_new_ingest_and_the_kept_copy(
    store: JudgedImages, cookie: str, parts: Path
) -> None:
    store.say(keep(store, "a", alarm=True), word("good"))
    first = apply_feedback(store, "cookie").version
    ingest(parts, "cookie", progress=False)
    store.prune(0)
    assert apply_feedback(store, "cookie").version.address == first.address


def test_disagreements_and_pictures_that_the_dataset_has_are_shown_and_not_used(
    store: JudgedImages, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(8):
        (folder / f"{seed}.png").write_bytes(picture(seed))
    ingest(folder, "cookie", progress=False)
    store.say(keep(store, "known", alarm=True, seed=1), word("good"))
    store.say(keep(store, "trained", alarm=False, seed=2), word("defective"))
    both = keep(store, "both", alarm=True, seed=99)
    store.say(both, word("good", "anna"))
    store.say(both, word("defective", "ben"))
    applied = apply_feedback(store, "cookie")
    reasons = {each.opinion.image.id: each.reason for each in applied.left_out}
    assert "already in the dataset as 1.png" in reasons["known"]
    assert (
        "already in the dataset as 2.png (good), but a person says defective" in reasons["trained"]
    )
    assert "people disagree" in reasons["both"]
    assert not applied.changed


def test_a_kept_copy_that_was_altered_is_named_and_not_used(
    store: JudgedImages, cookie: str
) -> None:
    kept = keep(store, "a", alarm=True)
    store.say(kept, word("good"))
    store.file(kept).write_bytes(b"\x89PNG nothing")
    [left] = apply_feedback(store, "cookie").left_out
    assert "was altered" in left.reason
