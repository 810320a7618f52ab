from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from uad.metrics import PixelStream
from uad.metrics.pixel import MAX_BINS, Histogram, component_weights

from .slow import slow_aupro

Maps = list[NDArray[np.float32]]
Masks = list[NDArray[np.bool_]]

BOUND = 1e-4

SHAPES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "plain": lambda z: z - z.min(),
    "negative too": lambda z: z,
    "heavy tail": lambda z: np.exp(9 * z),
    "heavier tail": lambda z: np.abs(z) ** -6,
    "a sliver around one": lambda z: 1 + 1e-4 * z,
    "a sliver and zeros": lambda z: np.where(z < -1, 0.0, 1 + 1e-4 * z),
    "few levels": lambda z: np.round(2 * z) + 20,
    "one level": lambda z: np.zeros_like(z),
}


def pictures(shape: str, images: int = 6, size: tuple[int, int] = (60, 90)) -> tuple[Maps, Masks]:
    """Maps whose scores are raised on two or three blobs of every second image."""
    rng = np.random.default_rng(3)
    maps, masks = [], []
    for index in range(images):
        mask = np.zeros(size, bool)
        if index % 2:
            mask[5:8, 10:70] = mask[20:50, 20:44] = True
            mask[30 + index, 80] = True
        z = rng.standard_normal(size) + mask * rng.uniform(0, 2)
        maps.append(SHAPES[shape](z).astype(np.float32))
        masks.append(mask)
    return maps, masks


def streamed(maps: Maps, masks: Masks) -> PixelStream:
    stream = PixelStream()
    for values, mask in zip(maps, masks, strict=True):
        stream.add(values, mask if mask.any() else None, "blob" if mask.any() else "good")
    return stream


@pytest.mark.parametrize("shape", SHAPES)
def test_auroc_and_ap_agree_with_scikit_learn(shape: str) -> None:
    maps, masks = pictures(shape, size=(200, 300))
    scores, truth = np.concatenate(maps).ravel(), np.concatenate(masks).ravel()
    metrics = streamed(maps, masks).overall()
    assert metrics.auroc == pytest.approx(roc_auc_score(truth, scores), abs=BOUND)
    assert metrics.ap == pytest.approx(average_precision_score(truth, scores), abs=BOUND)


@pytest.mark.parametrize("shape", SHAPES)
def test_aupro_agrees_with_its_definition(shape: str) -> None:
    maps, masks = pictures(shape, images=2)
    assert streamed(maps, masks).overall().aupro == pytest.approx(
        slow_aupro(maps, masks), abs=BOUND
    )


def test_a_limit_between_two_thresholds_is_met_on_the_straight_line() -> None:
    values = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]], np.float32)
    mask = np.array([[0, 1, 0, 1, 0, 1, 0, 0]], bool)
    metrics = streamed([values], [mask]).overall()
    assert metrics.aupro == pytest.approx(slow_aupro([values], [mask]), abs=1e-12)


def test_a_small_defect_weighs_as_much_as_a_large_one() -> None:
    large, small = np.s_[2:22, 2:22], np.s_[30, 30]
    mask = np.zeros((40, 40), bool)
    mask[large] = mask[small] = True
    found_large, found_small = np.zeros((2, 40, 40), np.float32)
    found_large[large], found_small[small] = 1, 1
    areas = {streamed([m], [mask]).overall().aupro for m in (found_large, found_small)}
    assert len({round(area, 9) for area in areas if area}) == 1


def test_pixels_that_touch_at_a_corner_are_one_component() -> None:
    mask = np.eye(4, dtype=bool)
    assert component_weights(mask)[mask] == pytest.approx(0.25)
    assert streamed([np.zeros((4, 4), np.float32)], [mask]).overall().components == 1


def test_a_hundred_images_need_no_more_bins_than_the_limit() -> None:
    rng = np.random.default_rng(0)
    stream = PixelStream()
    for index in range(100):
        stream.add(np.exp(rng.normal(index / 4, 8, (100, 100))).astype(np.float32), None)
    (histogram,) = stream._groups.values()
    assert isinstance(histogram, Histogram)
    assert histogram._counts[0].size <= MAX_BINS
    assert histogram.counts().sum() == 100 * 100 * 100


def test_the_order_of_images_does_not_matter() -> None:
    maps, masks = pictures("heavy tail")
    forth, back = streamed(maps, masks), streamed(maps[::-1], masks[::-1])
    assert forth.overall() == back.overall()


def test_normal_pixels_alone_leave_everything_undefined() -> None:
    metrics = streamed([np.ones((4, 4), np.float32)], [np.zeros((4, 4), bool)]).overall()
    assert (metrics.auroc, metrics.ap, metrics.aupro, metrics.roc) == (None, None, None, ())


def test_defect_pixels_alone_leave_everything_undefined() -> None:
    metrics = streamed([np.ones((4, 4), np.float32)], [np.ones((4, 4), bool)]).overall()
    assert (metrics.auroc, metrics.ap, metrics.aupro) == (None, None, None)


def test_nothing_at_all_is_undefined_too() -> None:
    assert PixelStream().overall().auroc is None


def test_the_curves_start_and_end_at_the_corners_and_keep_their_area() -> None:
    metrics = streamed(*pictures("plain")).overall()
    x, y = np.array(metrics.roc).T
    assert metrics.roc[0] == (0.0, 0.0)
    assert metrics.roc[-1] == (1.0, 1.0)
    assert len(metrics.roc) <= 200
    assert np.trapezoid(y, x) == pytest.approx(metrics.auroc, abs=2e-3)
