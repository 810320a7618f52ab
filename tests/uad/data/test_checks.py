import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.uad.data.conftest import LONG_AGO, write_long_ago
from uad.data import ingest, load_dataset
from uad.data.checks import scan
from uad.errors import DataError

Draw = Callable[..., Path]


def kinds(path: Path) -> list[str]:
    return [problem.kind for problem in scan(path).problems]


def names(path: Path) -> set[str]:
    return {entry.item.name for entry in scan(path).entries}


def aged(folder: Path) -> None:
    """Make files look settled, as they are in practice."""
    for file in folder.rglob("*"):
        os.utime(file, (LONG_AGO, LONG_AGO))


def test_a_sound_dataset_has_no_problems_and_knows_sizes(parts: Path) -> None:
    dataset = load_dataset(parts)
    assert not dataset.problems
    assert dataset.counts["test_anomalous"] == 4
    assert dataset.counts["masks"] == 4
    assert {sample.size for sample in dataset.normals + dataset.test} == {(32, 40)}
    assert all(sample.path.is_file() for sample in dataset.normals)


def test_a_truncated_jpeg_among_good_ones_is_named_and_skipped(parts: Path, draw: Draw) -> None:
    torn = draw("parts/train/good/Torn 1.jpg", seed=50)
    write_long_ago(torn, torn.read_bytes()[:-300])
    found = scan(parts)
    assert [(p.kind, p.path) for p in found.problems] == [("broken", torn)]
    assert "Torn 1.jpg is damaged or truncated" in found.problems[0].message
    assert len(found.entries) == 19
    assert torn.is_file()


def test_broken_images_can_be_refused(parts: Path) -> None:
    write_long_ago(parts / "train/good/000.png", b"")
    with pytest.raises(DataError, match=r"1 of 19 images.*000\.png.*--on-broken skip"):
        ingest(parts, "parts", on_broken="refuse")


def test_an_exact_duplicate_in_training_is_used_once(parts: Path) -> None:
    shutil.copy(parts / "train/good/003.png", parts / "train/good/zz copy.png")
    found = scan(parts)
    assert [p.kind for p in found.problems] == ["duplicate"]
    assert "zz copy.png is the same file as train/good/003.png" in found.problems[0].message
    assert "train/good/zz copy.png" not in names(parts)
    assert "train/good/003.png" in names(parts)


def test_a_training_image_in_the_test_set_is_reported_as_a_leak_and_kept(parts: Path) -> None:
    shutil.copy(parts / "train/good/003.png", parts / "test/good/new.png")
    assert kinds(parts) == ["leak"]
    assert {"train/good/003.png", "test/good/new.png"} <= names(parts)


def test_the_same_file_labelled_good_and_bad_is_reported(parts: Path) -> None:
    shutil.copy(parts / "train/good/003.png", parts / "test/cracked/003.png")
    assert "conflict" in kinds(parts)


def test_a_mask_that_cannot_be_used_leaves_image_metrics(
    parts: Path, draw_mask: Draw, draw: Draw
) -> None:
    draw_mask("parts/ground_truth/cracked/000_mask.png", size=(16, 20))
    draw_mask("parts/ground_truth/cracked/001_mask.png", value=0)
    write_long_ago(parts / "ground_truth/cracked/002_mask.png", b"\x89PNG")
    (parts / "ground_truth/cracked/003_mask.png").unlink()
    draw_mask("parts/ground_truth/cracked/004_mask.png")
    draw("parts/test/cracked/004.png", seed=400)
    dataset = load_dataset(parts)
    cracked = [sample for sample in dataset.test if sample.label]
    assert [sample.mask is not None for sample in cracked] == [False] * 4 + [True]
    told = " ".join(problem.message for problem in dataset.problems)
    assert "is 16x20 but the image is 32x40" in told
    assert "marks nothing" in told
    assert "002_mask.png is" in told
    assert "test/cracked/003.png has no mask" in told
    assert told.count("used for image metrics only") == 4


def test_a_test_folder_without_masks_is_no_problem(parts: Path) -> None:
    shutil.rmtree(parts / "ground_truth")
    dataset = load_dataset(parts)
    assert not dataset.problems
    assert dataset.counts["masks"] == 0
    assert dataset.counts["test_anomalous"] == 4


def test_anomalous_training_images_never_train(parts: Path, draw: Draw) -> None:
    draw("parts/train/dented/000.png", seed=60)
    dataset = load_dataset(parts)
    assert all(sample.label == 0 for sample in dataset.normals)
    assert [problem.kind for problem in dataset.problems] == ["moved"]
    assert any(sample.defect == "dented" for sample in dataset.test)


def test_no_normal_image_is_an_error_that_says_where_to_put_them(parts: Path) -> None:
    shutil.rmtree(parts / "train/good")
    with pytest.raises(DataError, match="no normal image to train on, only cracked; put images"):
        scan(parts)


def test_a_folder_of_broken_images_says_so(parts: Path) -> None:
    for file in (parts / "train/good").iterdir():
        write_long_ago(file, file.read_bytes()[:50])
    with pytest.raises(DataError, match=r"12 could not be read: .*000\.png is"):
        scan(parts)


def test_a_bare_folder_of_broken_images_says_so(tmp_path: Path) -> None:
    write_long_ago(tmp_path / "0.png", b"torn")
    with pytest.raises(DataError, match=r"1 could not be read: 0\.png is"):
        scan(tmp_path)


def test_an_image_of_one_colour_and_a_12_bit_one_are_reported(parts: Path) -> None:
    blank = np.full((32, 40, 3), 7, np.uint8)
    dark = np.random.default_rng(0).integers(0, 4096, (32, 40), np.uint16)
    (parts / "train/good/blank.png").write_bytes(cv2.imencode(".png", blank)[1].tobytes())
    (parts / "train/good/dark.png").write_bytes(cv2.imencode(".png", dark)[1].tobytes())
    assert sorted(kinds(parts)) == ["blank", "dark"]
    assert {"train/good/blank.png", "train/good/dark.png"} <= names(parts)


@pytest.mark.skipif(os.name == "nt", reason="names are always text there")
def test_a_name_that_is_not_utf8_is_a_problem_and_no_crash(parts: Path, draw: Draw) -> None:
    source = draw("other.png", seed=70)
    target = os.fsencode(parts / "train/good") + b"/Pr\xfcfling.png"
    try:
        shutil.copy(source, os.fsdecode(target))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    version = ingest(parts, "parts")
    assert [problem.kind for problem in version.problems] == ["broken"]
    assert "is not UTF-8; rename it" in version.problems[0].message


def test_files_that_did_not_change_are_not_read_again(parts: Path, draw: Draw) -> None:
    aged(parts)
    assert scan(parts).files_read == 23
    assert scan(parts).files_read == 0
    draw("parts/train/good/new.png", seed=80)
    aged(parts)
    assert scan(parts).files_read == 1


@pytest.mark.parametrize("first_byte", [0, 4096])
def test_a_damaged_index_is_made_anew(parts: Path, uad_home: Path, first_byte: int) -> None:
    aged(parts)
    scan(parts)
    (index,) = (uad_home / "cache").glob("*.sqlite")
    content = index.read_bytes()
    index.write_bytes(content[:first_byte] + b"\xffno database at all" * (len(content) // 18))
    assert scan(parts).files_read == 23
    assert scan(parts).files_read == 0


def test_a_known_file_that_changed_is_read_again_and_then_known(parts: Path, draw: Draw) -> None:
    aged(parts)
    before = {entry.item.name: entry.facts.sha256 for entry in scan(parts).entries}
    changed = draw("parts/train/good/000.png", seed=81)
    os.utime(changed, (1_600_000_100, 1_600_000_100))
    found = scan(parts)
    differing = [e.item.name for e in found.entries if before[e.item.name] != e.facts.sha256]
    assert differing == ["train/good/000.png"]
    assert found.files_read == 1
    assert scan(parts).files_read == 0


def test_a_file_rewritten_within_one_tick_of_the_clock_is_not_mistaken(
    tmp_path: Path, draw: Draw
) -> None:
    now = time.time_ns()
    for seed in (1, 2):
        for index in range(3):
            os.utime(draw(f"set/{index}.bmp", seed=10 * seed + index), ns=(now, now))
        found = scan(tmp_path / "set")
        hashes = [hashlib.sha256(e.item.path.read_bytes()).hexdigest() for e in found.entries]
        assert [entry.facts.sha256 for entry in found.entries] == hashes


def test_an_image_and_its_use_as_a_mask_are_remembered_apart(
    tmp_path: Path, draw: Draw, draw_mask: Draw
) -> None:
    for index in range(3):
        draw_mask(f"set/{index}.png", value=200 + index)
    (tmp_path / "set/train.txt").write_text("0.png 1.png\n1.png 2.png\n2.png 2.png\n")
    aged(tmp_path / "set")
    first = scan(tmp_path / "set")
    second = scan(tmp_path / "set")
    assert first.entries == second.entries
    assert second.files_read == 0
