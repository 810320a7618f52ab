import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from uad.metrics import binned, clopper_pearson, image_metrics
from uad.metrics.image import ImageMetrics, score_bins


def drawn(ties: bool = True) -> tuple[list[int], list[float]]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 60)
    scores = rng.normal(labels * 0.8, 1.0)
    return labels.tolist(), (np.round(scores, 1) if ties else scores).tolist()


def measured(
    labels: list[int], scores: list[float], threshold: float, seed: int = 0
) -> ImageMetrics:
    return image_metrics(labels, scores, [score > threshold for score in scores], seed=seed)


def test_every_figure_is_scikit_learns() -> None:
    labels, scores = drawn()
    alarm = np.array(scores) > 0.5
    metrics = measured(labels, scores, 0.5)
    assert metrics.auroc == roc_auc_score(labels, scores)
    assert metrics.ap == average_precision_score(labels, scores)
    assert metrics.f1 == pytest.approx(f1_score(labels, alarm))
    assert metrics.recall == pytest.approx(recall_score(labels, alarm))
    assert metrics.false_alarm_rate == pytest.approx(1 - recall_score(labels, alarm, pos_label=0))


def test_what_raised_no_alarm_counts_as_missed_whatever_its_score() -> None:
    metrics = image_metrics([0, 0, 1], [0.5, 0.6, 0.9], [False, True, False])
    assert (metrics.false_alarms, metrics.missed) == (1, 1)
    assert (metrics.false_alarm_rate, metrics.recall, metrics.f1) == (0.5, 0.0, 0.0)


def test_the_best_f1_is_the_best_that_any_threshold_reaches() -> None:
    labels, scores = drawn()
    metrics = measured(labels, scores, 0.0)
    every = [f1_score(labels, np.array(scores) >= cut) for cut in np.unique(scores)]
    assert metrics.f1_max == pytest.approx(max(every))
    assert metrics.f1_max_threshold == np.unique(scores)[int(np.argmax(every))]


def test_undefined_is_none_and_never_zero() -> None:
    normals = measured([0, 0], [0.1, 0.9], 0.5)
    assert (normals.auroc, normals.ap, normals.f1, normals.f1_max, normals.recall) == (None,) * 5
    assert normals.false_alarm_rate == 0.5
    defects = measured([1, 1], [0.1, 0.9], 0.5)
    assert (defects.auroc, defects.ap, defects.false_alarm_rate) == (None,) * 3
    assert defects.recall == 0.5


def test_the_binned_forms_used_by_bootstraps_equal_scikit_learns() -> None:
    labels, scores = drawn()
    rng = np.random.default_rng(2)
    weights = rng.integers(0, 3, (5, 60)).astype(float)
    normal, anomalous = score_bins(np.array(labels), np.array(scores), weights)
    for row, weight in enumerate(weights):
        expected = roc_auc_score(labels, scores, sample_weight=weight)
        assert binned.auroc(normal, anomalous)[row] == pytest.approx(expected)
        expected = average_precision_score(labels, scores, sample_weight=weight)
        assert binned.average_precision(normal, anomalous)[row] == pytest.approx(expected)


def test_intervals_hold_their_figures() -> None:
    metrics = measured(*drawn(), 0.5)
    figures = {
        "image_auroc": metrics.auroc,
        "image_ap": metrics.ap,
        "f1": metrics.f1,
        "recall": metrics.recall,
        "false_alarm_rate": metrics.false_alarm_rate,
    }
    for name, value in figures.items():
        low, high = metrics.intervals[name]
        assert value is not None
        assert 0 <= low < value < high <= 1, name


def test_the_auroc_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    truth, covered = 0.7602, 0  # Phi(1 / sqrt(2)) for two normal laws one deviation apart
    for trial in range(60):
        scores = np.concatenate([rng.normal(0, 1, 40), rng.normal(1, 1, 40)])
        low, high = measured([0] * 40 + [1] * 40, scores.tolist(), 0, seed=trial).intervals[
            "image_auroc"
        ]
        covered += low <= truth <= high
    assert 50 <= covered <= 60


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 14, 0.0, 0.2316), (14, 14, 0.7684, 1.0), (3, 20, 0.0321, 0.3789)],
)
def test_clopper_pearson_gives_the_tables_values(
    hits: int, total: int, low: float, high: float
) -> None:
    assert clopper_pearson(hits, total) == pytest.approx((low, high), abs=1e-4)


def test_no_trial_has_no_interval() -> None:
    assert clopper_pearson(0, 0) is None
