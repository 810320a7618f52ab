import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from uad.errors import DataError
from uad.metrics import Judgement, PixelStream, paired_bootstrap

LABELS = [0] * 20 + [1] * 20
SIZE = (24, 24)


def judged(strength: float, seed: int = 0, gain: float = 1.0) -> Judgement:
    """A model that sees defects with `strength`; the images' own noise is the same for all."""
    shared, own = np.random.default_rng(7), np.random.default_rng(seed)
    stream, scores, histograms = PixelStream(), [], []
    for label in LABELS:
        mask = np.zeros(SIZE, bool)
        mask[4:10, 4:10] = bool(label)
        noise = shared.normal(size=SIZE) + 0.3 * own.normal(size=SIZE)
        values = (gain * np.exp(noise + strength * mask)).astype(np.float32)
        histograms.append(stream.add(values, mask if label else None, str(label)))
        scores.append(float(values.max()))
    pixel = stream.overall()
    figures = {"pixel_auroc": pixel.auroc, "pixel_ap": pixel.ap, "aupro": pixel.aupro}
    return Judgement(scores, gain * float(np.exp(3.8)), histograms, figures)


def test_a_better_model_is_seen_in_every_metric() -> None:
    found = paired_bootstrap(LABELS, judged(3.0), judged(0.5, seed=1))
    for name in ("image_auroc", "image_ap", "recall", "f1", "pixel_auroc", "pixel_ap", "aupro"):
        assert found[name].low > 0, name
        assert found[name].low <= found[name].difference <= found[name].high


def test_two_models_of_the_same_strength_differ_by_chance_only() -> None:
    found = paired_bootstrap(LABELS, judged(1.0, seed=1), judged(1.0, seed=2))
    for name in ("image_auroc", "pixel_auroc", "aupro"):
        assert found[name].low < 0 < found[name].high, name


def test_a_model_against_itself_differs_by_nothing_whatever_its_scale() -> None:
    found = paired_bootstrap(LABELS, judged(1.0), judged(1.0, gain=1000.0))
    for name, difference in found.items():
        assert max(abs(difference.low), abs(difference.high)) < 3e-3, name


def test_the_intervals_middle_is_the_exact_difference() -> None:
    a, b = judged(1.0, seed=1), judged(1.2, seed=2)
    found = paired_bootstrap(LABELS, a, b)
    exact = roc_auc_score(LABELS, a.scores) - roc_auc_score(LABELS, b.scores)
    assert found["image_auroc"].difference == pytest.approx(exact)
    pixel = a.figures["pixel_auroc"], b.figures["pixel_auroc"]
    assert (found["pixel_auroc"].a, found["pixel_auroc"].b) == pixel


def test_per_image_bins_come_close_to_the_exact_pixel_metrics() -> None:
    exact = judged(1.0)
    coarse = Judgement(exact.scores, exact.threshold, exact.histograms)
    found = paired_bootstrap(LABELS, coarse, coarse, resamples=100)
    for name, bound in (("pixel_auroc", 1e-4), ("aupro", 1e-4), ("pixel_ap", 2e-3)):
        assert found[name].a == pytest.approx(exact.figures[name], abs=bound), name


def test_the_interval_moves_by_what_binning_changed() -> None:
    a, b = judged(1.0, seed=1), judged(0.8, seed=2)
    exact = {**a.figures, "aupro": (a.figures["aupro"] or 0) + 0.05}
    moved = Judgement(a.scores, a.threshold, a.histograms, exact)
    before = paired_bootstrap(LABELS, a, b, resamples=100)["aupro"]
    after = paired_bootstrap(LABELS, moved, b, resamples=100)["aupro"]
    shifts = (
        after.difference - before.difference,
        after.low - before.low,
        after.high - before.high,
    )
    assert shifts == pytest.approx((0.05, 0.05, 0.05))


def test_shots_of_one_part_count_as_one_piece_of_evidence() -> None:
    a, b = judged(0.2, seed=1), judged(0.1, seed=2)
    parts = [f"part {index // 4}" for index in range(40)]
    alone = paired_bootstrap(LABELS, repeated(a), repeated(b))["image_auroc"]
    together = paired_bootstrap(LABELS, repeated(a), repeated(b), clusters=parts)["image_auroc"]
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def repeated(judgement: Judgement) -> Judgement:
    """Four shots a part: each score is its part's first one."""
    scores: NDArray[np.float64] = np.asarray(judgement.scores)[np.arange(40) // 4 * 4]
    return Judgement(scores.tolist(), judgement.threshold)


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = judged(1.0, seed=1), judged(0.8, seed=2)
    assert paired_bootstrap(LABELS, a, b, seed=4) == paired_bootstrap(LABELS, a, b, seed=4)


def test_normal_images_alone_compare_false_alarms_only() -> None:
    a, b = (Judgement([0.1, 0.2, 0.9], 0.5), Judgement([0.1, 0.2, 0.3], 0.5))
    found = paired_bootstrap([0, 0, 0], a, b)
    assert list(found) == ["false_alarm_rate"]
    assert found["false_alarm_rate"].difference == pytest.approx(1 / 3)


def test_different_numbers_of_images_are_refused() -> None:
    with pytest.raises(DataError, match="the same images"):
        paired_bootstrap([0, 1], Judgement([0.1, 0.2], 0.5), Judgement([0.1], 0.5))
