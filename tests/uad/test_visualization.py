import numpy as np
import pytest
from numpy.typing import NDArray

from uad.visualization import colour_index, draw_boxes, draw_outline, heatmap_overlay, picture

GREY = np.full((80, 120, 3), 128, np.uint8)


def flat(value: float) -> NDArray[np.float32]:
    return np.full((80, 120), value, np.float32)


def hue(image: NDArray[np.uint8]) -> tuple[int, ...]:
    (colour,) = np.unique(image.reshape(-1, 3), axis=0)
    return tuple(int(channel) for channel in colour)


def test_a_map_far_below_the_threshold_leaves_the_image_as_it_is() -> None:
    assert np.array_equal(heatmap_overlay(GREY, flat(0.1), threshold=1.0), GREY)


def test_the_same_ratio_to_the_threshold_has_the_same_colour_in_every_picture() -> None:
    low = heatmap_overlay(GREY, flat(0.003), threshold=0.002)
    high = heatmap_overlay(GREY, flat(30.0), threshold=20.0)
    assert hue(low) == hue(high)


def test_a_picture_is_never_stretched_to_its_own_range() -> None:
    quiet, loud = flat(0.2), flat(0.2)
    loud[10, 10] = 50.0
    shown = [heatmap_overlay(GREY, values, threshold=1.0)[40, 60] for values in (quiet, loud)]
    assert np.array_equal(*shown)


def test_just_above_the_threshold_is_yellow_and_just_below_it_is_blue() -> None:
    above = hue(heatmap_overlay(GREY, flat(1.02), threshold=1.0))
    below = hue(heatmap_overlay(GREY, flat(0.98), threshold=1.0))
    assert above[1] > 180 > above[0]
    assert above[2] > 180
    assert below[0] > 180 > below[2]


def test_more_anomalous_is_never_a_lower_place_on_the_scale() -> None:
    values = np.geomspace(1e-6, 1e6, 500, dtype=np.float32)[None]
    assert (np.diff(colour_index(values, 0.5)[0].astype(int)) >= 0).all()


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_a_threshold_without_ratio_shows_above_and_below_only(threshold: float) -> None:
    values = np.array([[threshold - 1, threshold, threshold + 1]], np.float32)
    assert colour_index(values, threshold).tolist() == [[0, 0, 255]]


def test_negative_scores_are_far_below_the_threshold() -> None:
    assert colour_index(np.array([[-0.3]], np.float32), 0.2)[0, 0] == 0


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (80, 120), (40, 1300), (900, 30), (1024, 1024)])
def test_a_picture_of_any_size_has_the_caption_below_the_image(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 200, np.uint8)
    shown = picture(image, np.zeros(size, np.float32), 0.5, 1.0, False)
    assert shown.dtype == np.uint8
    assert shown.shape[0] > size[0]
    assert shown.shape[1] >= size[1]
    assert max(shown.shape) < 5000


def test_the_caption_tells_good_from_bad_by_colour() -> None:
    good = picture(GREY, flat(0.1), 0.1, 1.0, False)[-3, 1]
    bad = picture(GREY, flat(2.0), 2.0, 1.0, True)[-3, 1]
    assert good[1] > good[2]
    assert bad[2] > bad[1]


def test_what_lies_above_the_threshold_is_outlined() -> None:
    values = flat(0.0)
    values[20:50, 40:80] = 2.0
    image = np.zeros((80, 120, 3), np.uint8)
    shown = picture(image, values, 2.0, 1.0, True)
    factor = shown.shape[1] // 120
    edge = shown[20 * factor, 60 * factor]
    assert edge.tolist() == [255, 255, 255]
    assert shown[35 * factor, 60 * factor].tolist() != [255, 255, 255]


def test_an_alarm_without_a_marked_place_circles_the_most_unusual_one_and_says_so() -> None:
    values = np.full((400, 600), 0.1, np.float32)
    values[100, 500] = 0.4
    image = np.full((400, 600, 3), 90, np.uint8)
    whole = picture(image, values, 1.3, 1.2, True, map_threshold=0.5, raised_by="whole image")
    ys, xs = np.nonzero((whole[:400, :600] == 255).all(axis=2))
    assert (abs(xs.mean() - 500), abs(ys.mean() - 100)) < (2, 2)
    good = picture(image, values, 1.0, 1.2, False, map_threshold=0.5)
    assert not (good[:400, :600] == 255).all(axis=2).any()
    marked = picture(image, values, 1.3, 1.2, True, map_threshold=0.3, raised_by="memory")
    assert (marked[:400, :600] == 255).all(axis=2).sum() < 20


def test_a_marked_place_without_an_alarm_is_explained_in_the_caption() -> None:
    values = flat(0.0)
    values[20:50, 40:80] = 0.6
    plain, told = (
        picture(GREY, values, 1.0, 1.2, False, map_threshold=at).shape[1] for at in (0.7, 0.5)
    )
    assert told > plain  # the caption is longer, so the picture is wider


def test_the_map_is_coloured_by_its_own_threshold() -> None:
    alike = picture(GREY, flat(2.0), 1.3, 1.2, True, map_threshold=4.0)
    usual = picture(GREY, flat(2.0), 1.3, 4.0, True)
    assert np.array_equal(alike[:80, :300], usual[:80, :300])


def test_the_outline_of_a_single_pixel_can_be_seen() -> None:
    mask = np.zeros((80, 120), np.uint8)
    mask[40, 60] = 1
    drawn = GREY.copy()
    draw_outline(drawn, mask)
    assert np.count_nonzero((drawn != GREY).any(axis=2)) >= 5


def test_drawing_leaves_its_inputs_alone() -> None:
    image, values = GREY.copy(), flat(2.0)
    picture(image, values, 2.0, 1.0, True)
    assert np.array_equal(image, GREY)
    assert (values == 2.0).all()


def test_a_box_is_drawn_around_each_region_and_hides_nothing_in_it() -> None:
    image, box = np.full((400, 400, 3), 90, np.uint8), (100, 50, 60, 40)
    draw_boxes(image, [box])
    changed = (image != 90).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert changed.any()
    assert not changed[50:90, 100:160].any()
    assert (xs.min(), ys.min()) < (100, 50)
    assert (xs.max(), ys.max()) > (159, 89)
