import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.uad.data.conftest import run, write_long_ago

Draw = Callable[..., Path]


def test_ingest_shows_what_was_found_and_the_next_command(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_long_ago(parts / "train/good/[x] torn.png", b"torn")
    assert run("ingest", str(parts), "--name", "parts") == 0
    captured = capsys.readouterr()
    for text in ("parts@", "MVTec AD", "6 train, 2 selection, 4 calibration", "1 broken"):
        assert text in captured.out
    assert "4 (4 with a mask)" in captured.out
    assert "the lowest rate that can be guaranteed is 20 %" in re.sub(r"[│\s]+", " ", captured.out)
    assert "[x] torn.png" in captured.out
    assert "uad train --data parts" in captured.err


def test_ingest_says_of_how_many_captures_the_threshold_will_be(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("ingest", str(parts), "--name", "parts", "--group-pattern", r"good/00\d*([02468])")
    assert run(*command) == 0
    shown = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    assert re.search(r"calibration \(of \d+ captures, (\d+) of them in calibration\)", shown)
    assert "5 % needs 19 captures in calibration" in shown
    assert "can be guaranteed" not in shown


def test_broken_images_stop_an_ingest_that_refuses_them(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_long_ago(parts / "train/good/torn.png", b"torn")
    assert run("ingest", str(parts), "--name", "parts", "--on-broken", "refuse") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: 1 of 20 images")
    assert len(error.strip().splitlines()) == 1


def test_the_same_images_again_are_said_to_be_known(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("ingest", str(parts), "--name", "parts")
    capsys.readouterr()
    assert run("ingest", str(parts), "--name", "parts") == 0
    assert "already stored" in capsys.readouterr().err


def test_versions_can_be_listed_shown_compared_and_verified(
    parts: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    run("ingest", str(parts), "--name", "parts")
    draw("parts/train/good/new.png", seed=97)
    run("ingest", str(parts), "--name", "parts")
    capsys.readouterr()
    from uad.data.versions import history

    first, second = (row["version"] for row in history("parts"))
    assert run("datasets", "list") == 0
    assert f"parts@{second}" in capsys.readouterr().out
    assert run("datasets", "show", f"parts@{first}") == 0
    assert first in capsys.readouterr().out
    assert run("datasets", "diff", f"parts@{first}", "parts") == 0
    shown = capsys.readouterr().out
    assert "added" in shown
    assert "train/good/new.png" in shown
    assert run("datasets", "diff", "parts") == 1
    error = capsys.readouterr().err
    assert "uad datasets diff parts@VERSION parts" in error
    assert first in error
    assert run("datasets", "verify", "parts") == 0
    assert "all 20 images" in capsys.readouterr().err


def test_verify_fails_by_name_on_an_altered_file(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("ingest", str(parts), "--name", "parts")
    from uad.data import load_dataset

    victim = load_dataset("parts").normals[0]
    victim.path.chmod(0o644)
    victim.path.write_bytes(b"")
    assert run("datasets", "verify", "parts") == 1
    assert victim.name in capsys.readouterr().err


def test_no_datasets_yet_is_said_with_the_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("datasets", "list") == 1
    assert "uad ingest PATH" in capsys.readouterr().err


def test_a_failed_file_is_said_to_be_in_quarantine_and_where(
    parts: Path,
    uad_home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    write_long_ago(parts / "train/good/torn.png", b"torn")
    run("ingest", str(parts), "--name", "parts")
    capsys.readouterr()
    assert run("datasets", "show", "parts") == 0
    assert f"1 in {uad_home / 'quarantine/parts'}" in capsys.readouterr().out


def test_the_report_needs_nothing_but_itself_and_shows_findings_beside_their_twins(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_long_ago(parts / "train/good/<torn>.png", b"torn")
    shutil.copy(parts / "train/good/003.png", parts / "test/good/new.png")
    page = tmp_path / "pages/parts.html"
    assert run("ingest", str(parts), "--name", "parts", "--report", str(page)) == 0
    html = page.read_text(encoding="utf-8")
    assert "&lt;torn&gt;.png" in html
    assert "<torn>" not in html
    assert "://" not in html
    assert html.count("data:image/jpeg") == 2 + 12 + 4 + 4  # the leak's twins, samples of each kind
    assert "the same file as" in html
    assert "test/cracked" in html
    assert "defective (cracked), for testing" in html


def test_the_page_of_an_older_version_can_be_written_again(parts: Path, tmp_path: Path) -> None:
    run("ingest", str(parts), "--name", "parts")
    shutil.rmtree(parts)
    page = tmp_path / "parts.html"
    assert run("datasets", "show", "parts", "--report", str(page)) == 0
    assert "nothing was found" in page.read_text(encoding="utf-8")
