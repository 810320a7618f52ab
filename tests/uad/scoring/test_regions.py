import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from uad.scoring.regions import (
    MOST_REGIONS,
    Region,
    find_regions,
    opened_maximum,
    without_small,
)

Map = NDArray[np.float32]


def labels(values: Map, threshold: float) -> NDArray[np.uint8]:
    return np.where(values > threshold, 255, 0).astype(np.uint8)


def by_hand(values: Map, threshold: float) -> list[tuple[tuple[int, ...], int, float]]:
    """Box, area and maximum of each region, from OpenCV's components of the whole image."""
    count, found, stats, _ = cv2.connectedComponentsWithStats(labels(values, threshold))
    return sorted(
        (tuple(map(int, stats[i, :4])), int(stats[i, 4]), float(values[found == i].max()))
        for i in range(1, count)
    )


def test_nothing_marked_is_an_empty_list() -> None:
    for size in ((40, 60), (1500, 2001)):
        values = np.zeros(size, np.float32)
        found = find_regions(values, labels(values, 1.0))
        assert (found.listed, found.omitted, found.largest) == ((), 0, None)


def test_each_region_has_its_box_area_score_and_centre_largest_score_first() -> None:
    values = np.zeros((20, 30), np.float32)
    values[2:5, 3:9] = 2.0
    values[10, 20] = 7.0
    found = find_regions(values, labels(values, 1.0))
    assert found.listed == (
        Region(box=(20, 10, 1, 1), area=1, score=7.0, centre=(20.0, 10.0)),
        Region(box=(3, 2, 6, 3), area=18, score=2.0, centre=(5.5, 3.0)),
    )
    assert found.largest == found.listed[1]


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    values = np.zeros((6, 6), np.float32)
    values[1, 1] = values[2, 2] = 3.0
    assert find_regions(values, labels(values, 1.0)).count == 1


@pytest.mark.parametrize("size", [(90, 120), (1031, 1207), (1024, 2048)])
@pytest.mark.parametrize("seed", range(3))
def test_a_large_image_is_labelled_as_a_small_one(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((24, 24)).astype(np.float32)
    values = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    for threshold in (0.6, 0.9, 0.97):
        found = find_regions(values, labels(values, threshold), most=10_000)
        assert sorted((r.box, r.area, r.score) for r in found.listed) == by_hand(values, threshold)


def test_regions_whose_boxes_overlap_are_kept_apart() -> None:
    values = np.zeros((1200, 1200), np.float32)
    cv2.rectangle(values, (100, 100), (1000, 1000), 2.0, 5)
    cv2.circle(values, (500, 500), 40, 5.0, -1)
    found = find_regions(values, labels(values, 1.0))
    assert [(region.score, region.box[2]) for region in found.listed] == [(5.0, 81), (2.0, 907)]
    assert sum(region.area for region in found.listed) == np.count_nonzero(values)


def test_at_most_a_hundred_are_listed_and_the_others_counted() -> None:
    values = np.zeros((1000, 1000), np.float32)
    values[::40, ::40] = np.arange(1, 626, dtype=np.float32).reshape(25, 25)
    found = find_regions(values, labels(values, 0.5))
    assert (len(found.listed), found.omitted, found.count) == (MOST_REGIONS, 525, 625)
    assert [region.score for region in found.listed] == [float(625 - i) for i in range(100)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("area", [1, 2, 7, 40, 300])
def test_the_opened_maximum_is_the_highest_level_with_a_region_of_that_area(
    seed: int, area: int
) -> None:
    values = cv2.GaussianBlur(
        np.random.default_rng(seed).random((30, 40)).astype(np.float32), (0, 0), 1.5
    )
    found = opened_maximum(values, area)

    def largest(level: float) -> int:
        mask = (values >= level).astype(np.uint8)
        return int(cv2.connectedComponentsWithStats(mask)[2][1:, cv2.CC_STAT_AREA].max())

    assert largest(found) >= area
    higher = values[values > found]
    assert not higher.size or largest(float(higher.min())) < area


def test_an_area_beyond_the_map_gives_its_minimum() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert opened_maximum(values, 13) == 0.0
    assert opened_maximum(np.full((3, 4), 2.0, np.float32), 5) == 2.0


@pytest.mark.parametrize("size", [(40, 60), (900, 1000)])
def test_small_regions_are_taken_out_of_the_label_map(size: tuple[int, int]) -> None:
    values = np.zeros(size, np.float32)
    values[2:5, 3:9] = values[20, 30] = 2.0
    marked = labels(values, 1.0)
    kept = without_small(marked, 18)
    assert np.count_nonzero(kept) == 18
    assert np.count_nonzero(marked) == 19
    assert not without_small(marked, 19).any()
