from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from uad.data import ingest, load_dataset
from uad.data.versions import read_version

Uad = Callable[..., Any]


@pytest.fixture
def dataset(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The small synthetic parts, 48 x 64 pixels (height x width), stored as `parts`."""
    monkeypatch.setenv("UAD_HOME", str(tmp_path / "home"))
    ingest(parts, "parts", progress=False)
    return "parts"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    picture = np.zeros((48, 64), np.uint8)
    picture[:20, :24] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    return tmp_path / "mask.png"


def test_zones_make_a_new_version_and_are_shown(
    uad: Uad, dataset: str, mask: Path, tmp_path: Path
) -> None:
    before = read_version(dataset)
    ran = uad("zones", dataset, "--ignore", mask, "--show", tmp_path / "out" / "zones.png")
    after = read_version(dataset)
    assert ran.status == 0
    assert after.address in ran.out
    assert "zones: 1 ignored, 14" in ran.out
    assert "uad retrain --data parts --name parts " in ran.err
    assert (after.version != before.version, after.images) == (True, before.images)
    assert "1 ignored" in uad("datasets", "show", dataset).out
    assert (
        f"zones of {before.address}: none"
        in uad("datasets", "diff", before.address, after.address).err
    )
    assert load_dataset(dataset).ignore == after.ignore
    assert load_dataset(before.address).ignore == ()
    shown = cv2.imread(str(tmp_path / "out" / "zones.png"))
    good = cv2.imread(str(before.images[0].image.path))
    changed = (shown != good).any(axis=2)
    assert changed[:20, :24].mean() > 0.9
    assert not changed[24:, 28:].any()


def test_a_mask_that_may_be_inverted_is_said(uad: Uad, dataset: str, mask: Path) -> None:
    assert "warning" not in uad("zones", dataset, "--ignore", mask).err
    cv2.imwrite(str(mask), 255 - cv2.imread(str(mask)))
    told = " ".join(uad("zones", dataset, "--ignore", mask).err.split())
    assert "More than half of the image is ignored" in told
    assert "invert it" in told


def test_the_same_zones_again_change_nothing_and_clearing_gives_the_first_version(
    uad: Uad, dataset: str, mask: Path
) -> None:
    before = read_version(dataset).version
    uad("zones", dataset, "--ignore", mask)
    first = read_version(dataset).version
    assert "next:" not in uad("zones", dataset, "--ignore", mask).err
    assert read_version(dataset).version == first
    assert uad("zones", dataset, "--clear").out.endswith("zones: none\n")
    assert read_version(dataset).version == before


def test_zones_with_an_alpha_of_their_own_are_told_shown_and_kept(
    uad: Uad, dataset: str, mask: Path, tmp_path: Path, parts: Path
) -> None:
    uad("zones", dataset, "--ignore", mask)
    file = tmp_path / "zones.yaml"
    polygon = "[[0.6, 0.5], [1, 0.5], [1, 1], [0.6, 1]]"
    file.write_text(f"zones: [{{name: rim, alpha: 0.01, polygons: [{polygon}]}}]")
    ran = uad("zones", dataset, "--file", file, "--show", tmp_path / "zones.png")
    assert ran.status == 0, ran.err
    assert "zones: rim, alpha 0.01, 20.0 % of the image" in ran.out
    assert "uad calibrate" not in ran.err  # ignored regions changed as well
    (zone,) = load_dataset(dataset).zones
    assert load_dataset(dataset).ignore == ()
    assert ingest(parts, dataset, progress=False).zones == (zone,)
    file.write_text(file.read_text().replace("0.01", "0.02"))
    assert "uad calibrate BUNDLE --data parts, " in uad("zones", dataset, "--file", file).err
    shown = cv2.imread(str(tmp_path / "zones.png"))
    good = cv2.imread(str(read_version(dataset).images[0].image.path))
    changed = (shown != good).any(axis=2)
    assert changed[22:26, 45:60].any()
    assert not changed[:15, :30].any()


def test_images_that_are_ingested_later_keep_the_zones(
    uad: Uad, dataset: str, mask: Path, parts: Path
) -> None:
    uad("zones", dataset, "--ignore", mask)
    zones = read_version(dataset).ignore
    again = ingest(parts, dataset, progress=False)
    assert again.ignore == zones
    assert again.version == read_version(dataset).version


def test_a_mask_of_another_shape_is_refused_and_nothing_changes(
    uad: Uad, dataset: str, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((48, 128), 255, np.uint8))
    before = read_version(dataset)
    ran = uad("zones", dataset, "--ignore", tmp_path / "wide.png")
    assert ran.status == 1
    assert "another shape" in ran.err
    assert read_version(dataset) == before
    assert uad("zones", "nothing", "--ignore", tmp_path / "wide.png").status == 1
