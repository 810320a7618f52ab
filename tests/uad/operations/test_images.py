"""What --data of a retraining stands for."""

import os
from pathlib import Path

import cv2
import pytest

from tests.images import part, write_mvtec
from uad.data.file_index import Index, stamp_of
from uad.data.versions import read_version
from uad.errors import DataError
from uad.operations.images import check_images, images_sentence, read_ahead, store_images


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `lab` in the working directory."""
    monkeypatch.chdir(tmp_path)
    return write_mvtec(tmp_path / "lab", train=12, good=2, bad=2)


def test_new_files_in_a_folder_count_though_a_stored_dataset_has_its_name(lab: Path) -> None:
    first = store_images("lab", "lab")
    cv2.imwrite(str(lab / "train/good/new.png"), part(77))

    second = store_images("lab", "lab")

    assert second.address != first.address
    assert read_version(second.address).counts["normal"] == 13
    assert second.told[0] == (
        f"Images: the folder {lab}. A stored dataset has this name too; to use it, write "
        f"{first.address}"
    )


def test_where_there_is_no_such_folder_the_stored_dataset_is_used_and_said(lab: Path) -> None:
    address = store_images("lab", "bolt M8").address

    for data in ("bolt M8", address):
        assert store_images(data, "bolt M8").address == address
        assert images_sentence(data) == f"Images: the stored dataset {address}"


def test_a_name_that_is_neither_is_refused(lab: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        check_images("nowhere", "lab")


def test_what_was_read_ahead_is_known_to_the_ingest(lab: Path) -> None:
    photos = sorted(lab.rglob("good/*.png"))
    for photo in photos:
        os.utime(photo, (1_700_000_000, 1_700_000_000))
    read_ahead("lab")
    known = Index().known({photo: stamp_of(photo) for photo in photos}, "image")
    assert set(known) == set(photos)
    assert store_images("lab", "lab").address.startswith("lab@")


def test_a_folder_that_cannot_be_ingested_is_refused_when_it_is_read_ahead(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        read_ahead(str(tmp_path / "empty"))
