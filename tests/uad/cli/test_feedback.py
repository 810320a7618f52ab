import csv
from pathlib import Path

import pytest

from tests.uad.monitoring.judged import keep, picture, word
from uad.cli import main
from uad.data import ingest, load_dataset
from uad.monitoring.judged_images import JudgedImages


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["feedback", *arguments])
    shown = capsys.readouterr()
    assert not end.value.code, shown.err
    return " ".join((shown.out + shown.err).split())


@pytest.fixture
def store() -> JudgedImages:
    """A false alarm, a missed defect, and a disagreement on cookie."""
    made = JudgedImages()
    made.say(keep(made, "false", alarm=True, seed=1), word("good", note="=reflection()"))
    made.say(keep(made, "missed", alarm=False, seed=2), word("defective"))
    both = keep(made, "both", alarm=True, seed=3)
    made.say(both, word("good", "anna"))
    made.say(both, word("defective", "ben"))
    return made


def test_the_list_shows_what_was_judged_what_was_said_and_who_disagrees(
    store: JudgedImages, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shown = run(capsys, "cookie")
    for words in ("false alarm", "missed defect", "disagreement", "anna (127.0.0.1): good"):
        assert words in shown
    assert "uad feedback cookie apply" in shown


def test_without_feedback_it_says_how_to_get_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--set keep.images=all" in run(capsys, "cookie", "list")


def test_an_export_can_be_ingested_and_runs_no_formula(
    store: JudgedImages, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(capsys, "cookie", "export", "--output", str(tmp_path / "out"))
    for seed in range(10, 14):
        (tmp_path / "out" / "good" / f"{seed}.png").write_bytes(picture(seed))
    assert (tmp_path / "out/good/false.png").read_bytes() == picture(1)
    assert (tmp_path / "out/disagreement/both.png").read_bytes() == picture(3)
    with (tmp_path / "out/manifest.csv").open(encoding="utf-8") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"good/false.png", "defective/missed.png"}
    assert rows["good/false.png"]["note"] == "'=reflection()"
    version = ingest(tmp_path / "out/manifest.csv", "corrections", progress=False)
    assert version.counts["normal"] == version.counts["test_anomalous"] == 1
    with pytest.raises(SystemExit):
        main(["feedback", "cookie", "export", "--output", str(tmp_path / "out")])
    assert "is not empty" in capsys.readouterr().err


def test_apply_makes_the_next_version_and_says_what_it_left_out(
    store: JudgedImages, capsys: pytest.CaptureFixture[str], parts: Path
) -> None:
    before = ingest(parts, "cookie", progress=False)
    shown = run(capsys, "cookie", "apply")
    dataset = load_dataset("cookie")
    assert f"cookie@{dataset.version}" in shown
    assert dataset.version != before.version
    assert "people disagree" in shown
    assert "uad retrain --data cookie --name cookie" in shown
    assert "Nothing new" in run(capsys, "cookie", "apply")
