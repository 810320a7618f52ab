from pathlib import Path

import cv2
import numpy as np
import pytest

from uad.config import InputSpec
from uad.config.training import Areas
from uad.errors import ConfigError, ImageError
from uad.scoring.zone_files import read_areas, read_zones
from uad.scoring.zones import ignored, painted_over, prepared, share, zone_numbers

SIZES = [(60, 90)] * 3 + [(50, 50)]
CORNER: Areas = ((((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5)),),)


def yaml_file(folder: Path, text: str) -> Path:
    file = folder / "zones.yaml"
    file.write_text(text)
    return file


def mask_file(folder: Path, mask: np.ndarray) -> Path:
    file = folder / "mask.png"
    cv2.imwrite(str(file), mask)
    return file


def test_polygons_fit_images_of_any_size() -> None:
    for height, width in ((60, 90), (61, 91), (400, 20)):
        mask = ignored(CORNER, (height, width)) > 0
        assert mask[: height // 2 - 1, : width // 2 - 1].all()
        assert not mask[height // 2 + 1 :].any()
        assert not mask[:, width // 2 + 1 :].any()


def test_areas_that_overlap_are_both_ignored() -> None:
    assert (ignored(CORNER * 2, (40, 40)) == ignored(CORNER, (40, 40))).all()


def test_a_mask_is_kept_to_the_pixel_with_its_holes(tmp_path: Path) -> None:
    mask = np.zeros((60, 90), np.uint8)
    cv2.circle(mask, (40, 30), 20, 255, -1)
    cv2.circle(mask, (40, 30), 8, 0, -1)
    mask[50:58, 70:88] = 255
    mask[3, 5] = 255
    areas = read_areas(mask_file(tmp_path, mask), SIZES)
    assert len(areas) == 3
    assert (ignored(areas, (60, 90)) == mask).all()
    twice = cv2.resize(mask, (180, 120), interpolation=cv2.INTER_NEAREST)
    assert np.mean(ignored(areas, (120, 180)) != twice) < 0.03


def test_the_pages_yaml_is_read(tmp_path: Path) -> None:
    text = "# Corners\nignore:\n  - [[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]\n"
    assert read_areas(yaml_file(tmp_path, text), SIZES) == CORNER
    assert share(CORNER) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ignore: []", "no region to ignore"),
        ("rim: []", "unknown key 'rim'"),
        ("ignore: [[[0, 0], [1, 1]]]", "polygon 1 needs three corners"),
        ("ignore: [[[0, 0], [1, 1], [0, 0]]]", "three different corners"),
        ("ignore: [[[0, 0], [200, 0], [200, 90]]]", "divide pixels by the image's size"),
        ("ignore: [[[0, 0], [a, 0], [1, 1]]]", "a corner is two numbers"),
        ("ignore: [[[0, 0], [.nan, 0], [1, 1]]]", "a corner is two numbers"),
        ("ignore: 3", "must be a list of polygons"),
        ("ignore: [[[0, 0], [1, 0], [1, 1], [0, 1]]]", "ignores the whole image"),
        ("{size: [90, 30], ignore: [[[0, 0], [1, 0], [1, 1]]]}", "which is another shape"),
        ("{size: [0, 30], ignore: [[[0, 0], [1, 0], [1, 1]]]}", "'size' must be"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        read_areas(yaml_file(tmp_path, text), SIZES)
    assert words in str(raised.value)


ZONED = """
ignore: [[[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]]
zones:
  - {name: logo, alpha: 0.02, polygons: [[[0.4, 0.4], [0.8, 0.4], [0.8, 0.8], [0.4, 0.8]]]}
  - {name: rim 2, alpha: 0.01, polygons: [[[0.7, 0], [1, 0], [1, 1], [0.7, 1]]]}
"""


def test_zones_with_an_alpha_of_their_own_are_read_and_each_place_is_in_one(tmp_path: Path) -> None:
    areas, zones = read_zones(yaml_file(tmp_path, ZONED), SIZES)
    assert areas == CORNER
    assert [(zone.name, zone.alpha) for zone in zones] == [("logo", 0.02), ("rim 2", 0.01)]
    numbers = zone_numbers(zones, areas, (100, 100))
    assert (numbers[45, 45], numbers[75, 75], numbers[75, 85], numbers[75, 10]) == (0, 1, 2, 0)
    with pytest.raises(ConfigError, match="Use --file"):
        read_areas(yaml_file(tmp_path, ZONED), SIZES)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.02", "2", "a number between 0 and 1, for example 0.02; not 2"),
        ("alpha: 0.01, ", "", "zone 2 must have the keys name, alpha and polygons"),
        ("rim 2", "Größe", "its name must begin with"),
        ("rim 2", "logo", "two zones have the name logo"),
        ("[0.8, 0.4], ", "[8, 0.4], ", "zone 1: polygon 1: the corner [8, 0.4] lies outside"),
        ("[[[0.7, 0]", "[[[0.9, 0]", ""),
        ("[[0.7, 0], [1, 0], [1, 1], [0.7, 1]]", "[[0, 0], [0.3, 0], [0, 0.3]]", "rim 2 is empty"),
        ("[[0.7, 0], [1, 0], [1, 1], [0.7, 1]]", "[[0, 0], [1, 0], [1, 1], [0, 1]]", "the whole"),
    ],
)
def test_zones_that_cannot_be_used_are_refused_with_the_reason(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    file = yaml_file(tmp_path, ZONED.replace(old, new))
    if not words:
        assert read_zones(file, SIZES)
        return
    with pytest.raises(ConfigError) as raised:
        read_zones(file, SIZES)
    assert words in str(raised.value)


def test_a_mask_of_another_shape_is_refused_and_one_of_another_size_taken(tmp_path: Path) -> None:
    mask = np.zeros((120, 180), np.uint8)
    mask[:60, :90] = 255
    assert ignored(read_areas(mask_file(tmp_path, mask), SIZES), (60, 90)).any()
    with pytest.raises(ConfigError, match="another shape"):
        read_areas(mask_file(tmp_path, mask[:, :120]), SIZES)
    with pytest.raises(ConfigError, match="no region to ignore"):
        read_areas(mask_file(tmp_path, np.zeros((60, 90), np.uint8)), SIZES)
    with pytest.raises(ImageError):
        read_areas(yaml_file(tmp_path, "x").rename(tmp_path / "x.png"), SIZES)


@pytest.mark.parametrize("interpolation", ["area", "linear", "cubic"])
@pytest.mark.parametrize("size", [(40, 50), (97, 131), (400, 300)])
def test_nothing_in_an_ignored_region_reaches_the_network(
    interpolation: str, size: tuple[int, int]
) -> None:
    spec = InputSpec.model_validate(
        {"height": 96, "width": 128, "interpolation": interpolation, "ignore": CORNER}
    )
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    other = image.copy()
    inside = ignored(CORNER, size) > 0
    other[inside] = rng.integers(0, 256, (np.count_nonzero(inside), 3), np.uint8)
    assert not (image == other).all()
    assert (prepared(image, spec) == prepared(other, spec)).all()
    assert (painted_over(image, spec)[~inside] == image[~inside]).all()


def test_without_zones_an_image_is_only_resized() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    assert prepared(image, InputSpec(height=96, width=128)) is image
