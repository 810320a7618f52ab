"""A folder where a camera drops files, looked at while it writes."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.uad.data.conftest import write_long_ago
from uad.data import ingest
from uad.data.checks import scan
from uad.data.file_index import Facts
from uad.data.reading import image_facts, read_all

Draw = Callable[..., Path]


def test_a_half_written_file_is_left_alone_and_taken_when_it_is_whole(
    parts: Path, draw: Draw
) -> None:
    file = draw("parts/train/good/new.jpg", seed=500)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    first = ingest(parts, "parts", on_broken="refuse")
    assert [problem.kind for problem in first.problems] == ["unfinished"]
    told = "train/good/new.jpg is left for next time: it cannot be read, and it was written only "
    assert first.problems[0].message.startswith(told)
    assert first.counts["normal"] == 12
    file.write_bytes(whole)
    second = ingest(parts, "parts")
    assert not second.problems
    assert second.counts["normal"] == 13


def test_a_half_written_file_that_nobody_goes_on_with_is_broken(parts: Path, draw: Draw) -> None:
    file = draw("parts/train/good/new.jpg", seed=500)
    write_long_ago(file, file.read_bytes()[:200])
    assert [problem.kind for problem in scan(parts).problems] == ["broken"]


def test_a_file_that_changes_while_it_is_read_is_not_taken(tmp_path: Path, draw: Draw) -> None:
    file = draw("set/0.bmp", seed=1)

    def read_while_the_camera_writes(path: Path, name: str) -> Facts:
        facts = image_facts(path, name)
        with path.open("ab") as camera:
            camera.write(b"more")
        return facts

    found = read_all({file: "0.bmp"}, "image", read_while_the_camera_writes)
    assert found.unfinished == {file: "it changed while it was read"}
    assert not found.facts


def test_files_can_be_left_until_they_have_settled(parts: Path) -> None:
    """For cameras that make the file at its full size first and fill it afterwards."""
    for file in parts.rglob("*.png"):
        os.utime(file, (1_600_000_000, 1_600_000_000))
    os.utime(parts / "train/good/000.png")
    os.utime(parts / "ground_truth/cracked/000_mask.png")
    found = scan(parts, settle_seconds=60)
    assert sorted(problem.path.name for problem in found.problems) == ["000.png", "000_mask.png"]
    assert {problem.kind for problem in found.problems} == {"unfinished"}
    names = {entry.item.name for entry in found.entries}
    assert "train/good/000.png" not in names
    assert "test/cracked/000.png" not in names
    assert len(names) == 17
