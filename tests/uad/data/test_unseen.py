"""Which images are new to a detector."""

import logging
from pathlib import Path

import pytest

from tests.images import write_mvtec
from uad.data import ingest, load_dataset, unseen
from uad.storage.names import dataset_address


def test_images_are_known_by_their_content_whatever_their_name_and_place(tmp_path: Path) -> None:
    version = ingest(write_mvtec(tmp_path / "lab", train=6, good=2, bad=1), "lab", progress=False)
    other = write_mvtec(tmp_path / "other", train=8, good=2, bad=1)
    for photo in (other / "train/good").iterdir():
        photo.rename(photo.with_stem(f"renamed {photo.stem}"))
    samples = load_dataset(other).normals

    new = unseen(samples, [version.address])

    known = {image.sample.sha256 for image in version.images}
    assert len(samples) == 8
    assert [sample for sample in samples if sample.sha256 not in known] == new
    assert len(new) == 2
    assert unseen(samples, [dataset_address("any name", "v")], here="v") == []


def test_a_dataset_that_is_not_here_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = load_dataset(write_mvtec(tmp_path / "lab", train=6, good=2, bad=1)).normals
    elsewhere = dataset_address("lab", "0123456789ab")
    with caplog.at_level(logging.WARNING):
        assert unseen(samples, [elsewhere, elsewhere]) == list(samples)
    assert [record.getMessage().split("machine ")[1] for record in caplog.records] == [
        "does not have its dataset lab@0123456789ab. If it did, new images will raise more false "
        "alarms than these do."
    ]
    caplog.clear()
    unseen(samples, [elsewhere], quiet=True)
    assert not caplog.records
