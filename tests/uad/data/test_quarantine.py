from collections.abc import Callable
from pathlib import Path

from tests.uad.data.conftest import write_long_ago
from uad.data import ingest
from uad.data.quarantine import folder_of, quarantined

Draw = Callable[..., Path]


def test_what_cannot_be_used_is_copied_aside_and_stays_where_it_is(
    parts: Path, draw_mask: Draw
) -> None:
    torn = write_long_ago(parts / "train/good/torn 1.png", b"torn")
    wrong = draw_mask("parts/ground_truth/cracked/000_mask.png", size=(16, 20))
    ingest(parts, "parts")
    rows = {row.path: row for row in quarantined("parts")}
    assert set(rows) == {str(torn), str(wrong)}
    for path, row in rows.items():
        assert (folder_of("parts") / row.file).read_bytes() == Path(path).read_bytes()
    assert rows[str(torn)].kind == "broken"
    assert "is not a readable image" in rows[str(torn)].message
    assert "16x20" in rows[str(wrong)].message


def test_the_same_failure_is_copied_once_and_another_one_beside_it(parts: Path) -> None:
    torn = write_long_ago(parts / "train/good/torn.png", b"torn")
    ingest(parts, "parts")
    ingest(parts, "parts")
    assert len(quarantined("parts")) == 1
    write_long_ago(torn, b"torn again")
    ingest(parts, "parts")
    assert len(quarantined("parts")) == 2
    assert len({row.file for row in quarantined("parts")}) == 2


def test_sound_images_leave_no_quarantine(parts: Path) -> None:
    ingest(parts, "parts")
    assert quarantined("parts") == []
    assert not folder_of("parts").exists()
