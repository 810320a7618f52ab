"""The input takes the images' shape, unless it is told another."""

from dataclasses import replace
from pathlib import Path

import pytest

from uad.config import InputConfig
from uad.data import Sample, load_dataset
from uad.data.input_shape import fitted_input, remarks


@pytest.fixture
def images(parts: Path) -> list[Sample]:
    return list(load_dataset(parts).normals)


def shaped(images: list[Sample], *sizes: tuple[int, int]) -> list[Sample]:
    """(H, W) in turn."""
    return [replace(one, size=sizes[i % len(sizes)]) for i, one in enumerate(images)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((700, 700), (256, 256)),
        ((1250, 500), (400, 160)),
        ((500, 1250), (160, 400)),
        ((800, 1600), (176, 368)),
        ((480, 640), (224, 288)),
        ((40, 4000), (32, 2560)),
        ((10, 4000), (32, 4096)),
    ],
)
def test_it_has_the_images_shape_at_the_area_of_256_by_256(
    images: list[Sample], size: tuple[int, int], expected: tuple[int, int]
) -> None:
    found = fitted_input(InputConfig(), shaped(images, size))
    assert (found.height, found.width) == expected


def test_sides_that_are_given_stay_and_the_other_follows(images: list[Sample]) -> None:
    wide = shaped(images, (400, 800))
    fixed = InputConfig(height=128, width=128)
    assert fitted_input(fixed, wide) == fixed
    assert fitted_input(InputConfig(height=128), wide).width == 256
    assert fitted_input(InputConfig(width=512), wide).height == 256


def test_of_mixed_shapes_the_middle_one_is_taken_and_said(images: list[Sample]) -> None:
    mixed = shaped(images, (400, 400), (400, 400), (400, 800))
    spec = fitted_input(InputConfig(), mixed).spec()
    assert (spec.height, spec.width) == (256, 256)
    (word,) = remarks(spec, mixed)
    assert "1.00 to 2.00" in word
    assert "256 x 256" in word


def test_images_of_one_shape_need_no_word(images: list[Sample]) -> None:
    wide = shaped(images, (500, 1250))
    assert remarks(fitted_input(InputConfig(), wide).spec(), wide) == []


def test_a_fixed_shape_that_squashes_images_gets_a_word(images: list[Sample]) -> None:
    (word,) = remarks(InputConfig(height=256, width=256).spec(), shaped(images, (500, 1250)))
    assert "2.5 times as wide" in word
    assert "--set input.height=auto --set input.width=auto" in word
