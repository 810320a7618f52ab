import cv2
import numpy as np
import pytest

from tests.images import part
from uad.images import Image, colour_of, decode


def coloured(share: float, size: tuple[int, int] = (300, 400)) -> Image:
    """A grey part of which the left `share` is green."""
    image = part(1, size=size)
    image[:, : round(share * size[1]), 1] = 255
    return image


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", []),
        (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 20]),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 50]),
    ],
)
def test_a_grey_photo_is_grey_also_as_a_colour_file(suffix: str, options: list[int]) -> None:
    stored = cv2.imencode(suffix, part(1, size=(300, 400)), options)[1].tobytes()
    assert colour_of(decode(stored)) == "grey"


@pytest.mark.parametrize("size", [(2, 2), (48, 64), (3000, 4000)])
def test_an_image_with_clear_colours_is_in_colour(size: tuple[int, int]) -> None:
    assert colour_of(coloured(0.5, size)) == "colour"


def test_a_coloured_spot_or_a_slight_tint_is_neither() -> None:
    assert colour_of(coloured(0.02)) is None
    tinted = part(1)
    tinted[..., 0] = np.clip(tinted[..., 0], 0, 250) + 5
    assert colour_of(tinted) is None
