import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from uad.console import LINE_SECONDS, PlainConsole, ProgressLines, console, print_table, step

ODD = "lot [a] #7/out[/b]/:smile:/" + "long-" * 40


def test_text_of_users_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(f"saved in {ODD}")
    print_table(f"bundle {ODD}", ["in"], [[Path(ODD)]])
    shown = capsys.readouterr()
    assert shown.err == f"saved in {ODD}\n"
    assert shown.out.count(ODD) == 2


def test_a_table_without_a_terminal_wraps_sentences_and_breaks_no_word_and_no_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sentence = "A false alarm rate of 5 % needs 19 captures in calibration. " * 12
    path = "/data/" + "x" * 100
    print_table("dataset", ["", "what", "file"], [["split", sentence, path], ["", "-", path]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < len(path) + 130
    assert sum(path in line for line in lines) == 2
    cells = [line.split("│")[2] for line in lines if line.startswith("│")]
    assert " ".join(" ".join(cells).split()) == f"{sentence}-"


def test_passwords_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("reads postgresql://u:geheim@db/x")
    print_table("http://u:geheim@h", ["http://u:geheim@h"], [["http://u:geheim@h"]])
    shown = capsys.readouterr()
    assert "geheim" not in shown.out + shown.err


def test_without_a_terminal_long_work_is_a_line_now_and_then() -> None:
    now, written = [0.0], io.StringIO()
    with ProgressLines("images", PlainConsole(file=written), clock=lambda: now[0]) as bar:
        task = bar.add_task("training [a]", total=100, note="loss 0.1")
        for _ in range(50):
            now[0] += LINE_SECONDS / 20
            bar.advance(task)
    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("training [a]: 20 of 100 images, about ")
    assert lines[0].endswith("left (loss 0.1)")


CUT_OFF = """
import atexit, pathlib, sys
from rich.console import Console

def clean_up():
    Console(stderr=True).print("cleaning up")
    pathlib.Path(sys.argv[1]).touch()

atexit.register(clean_up)
from uad.cli import main
main(["config", "list"])
"""


def test_a_command_whose_reader_left_still_cleans_up(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    subprocess.run(
        [sys.executable, "-c", CUT_OFF, str(tmp_path / "clean")],
        stdout=writing,
        stderr=writing,
        timeout=120,
    )
    os.close(writing)
    assert (tmp_path / "clean").exists()


def test_a_step_that_cannot_be_counted_is_a_line_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with step("choosing [a]"):
        assert capsys.readouterr().err == "choosing [a]\n"
    with step("choosing [a]", visible=False):
        pass
    assert capsys.readouterr() == ("", "")
