import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from uad.data import Sample
from uad.errors import DataError, EngineError
from uad.evaluation import Report, evaluate, write_report
from uad.evaluation.explanations import sentences
from uad.images import read, read_mask
from uad.inference.detector import load_detector

from .conftest import AddSample, Brightness, Constant

REQUIRED = [
    *("image_auroc", "pixel_auroc", "aupro", "f1", "recall", "false_alarm_rate"),
    *("alpha", "threshold", "n_calibration"),
]


def test_the_required_figures_stand_at_the_top_of_the_json(tiles: list[Sample]) -> None:
    values = json.loads(evaluate(Brightness(), tiles).to_json())
    assert list(values)[: len(REQUIRED)] == REQUIRED
    assert all(isinstance(values[key], float | int) for key in REQUIRED)


def test_figures_agree_with_scikit_learn_on_every_pixel(tiles: list[Sample]) -> None:
    detector = Brightness()
    report = evaluate(detector, tiles, batch_size=3)
    maps = [detector.map(read(sample.path)) for sample in tiles]
    masks = [
        read_mask(sample.mask, sample.size) if sample.mask else np.zeros(sample.size, bool)
        for sample in tiles
    ]
    pixels, truth = np.concatenate(maps).ravel(), np.concatenate(masks).ravel()
    labels = [sample.label for sample in tiles]
    scores = np.array([values.max() for values in maps])
    assert report.pixel_auroc == pytest.approx(roc_auc_score(truth, pixels), abs=1e-4)
    assert report.pixel_ap == pytest.approx(average_precision_score(truth, pixels), abs=1e-4)
    assert report.image_auroc == roc_auc_score(labels, scores)
    assert report.image_ap == average_precision_score(labels, scores)
    assert report.f1 == f1_score(labels, scores > detector.threshold)


def test_a_kind_of_defect_is_judged_against_the_good_images_alone(tiles: list[Sample]) -> None:
    whole = evaluate(Brightness(), tiles)
    alone = evaluate(Brightness(), [s for s in tiles if s.defect in ("good", "spot")])
    row = next(row for row in whole.defects if row.defect == "spot")
    assert (row.images, row.masks) == (4, 4)
    assert row.pixel_auroc == alone.pixel_auroc
    assert row.aupro == alone.aupro
    assert row.image_auroc == alone.image_auroc
    assert row.recall == alone.recall


def test_saying_nothing_is_wrong_anywhere_scores_badly(tiles: list[Sample]) -> None:
    report = evaluate(Constant(0.0), tiles)
    assert report.image_auroc == report.pixel_auroc == 0.5
    assert report.aupro == pytest.approx(0.15)  # the diagonal: 0.3 * 0.3 / 2 / 0.3
    assert (report.f1, report.recall, report.false_alarm_rate) == (0.0, 0.0, 0.0)
    assert report.missed == 8


def test_saying_everything_is_wrong_scores_badly(tiles: list[Sample]) -> None:
    report = evaluate(Constant(1.0), tiles)
    assert report.image_auroc == report.pixel_auroc == 0.5
    assert report.aupro == pytest.approx(0.15)
    assert report.f1 == pytest.approx(2 * 8 / (2 * 8 + 6))
    assert (report.recall, report.false_alarm_rate) == (1.0, 1.0)
    assert report.false_alarms == 6


def test_good_images_alone_give_a_false_alarm_rate_and_nothing_else(tiles: list[Sample]) -> None:
    report = evaluate(Brightness(), [sample for sample in tiles if not sample.label])
    assert report.false_alarm_rate == 0.0
    undefined = (report.image_auroc, report.pixel_auroc, report.aupro, report.f1, report.recall)
    assert undefined == (None,) * 5
    assert report.false_alarm_range is not None
    assert report.false_alarm_range[0] <= report.alpha <= report.false_alarm_range[1]
    assert "image_auroc" not in report.metrics()
    assert json.loads(report.to_json())["image_auroc"] is None


def test_defects_without_masks_count_for_images_and_not_for_pixels(
    tiles: list[Sample], add_sample: AddSample
) -> None:
    bright = np.full((40, 60, 3), 255, np.uint8)
    black = np.zeros((40, 60), np.uint8)
    extra = [
        add_sample("test/spot/unmasked.png", bright, "spot"),
        add_sample("test/spot/empty.png", bright, "spot", black),
    ]
    before, after = evaluate(Brightness(), tiles), evaluate(Brightness(), tiles + extra)
    assert (after.n_masks, after.n_without_mask, after.n_anomalous) == (8, 2, 10)
    assert (after.pixel_auroc, after.aupro) == (before.pixel_auroc, before.aupro)
    assert after.recall != before.recall


def test_a_mask_of_another_size_is_refused_and_never_resized(add_sample: AddSample) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    sample = add_sample("test/spot/0.png", picture, "spot", np.full((20, 30), 255, np.uint8))
    with pytest.raises(DataError, match=r"0_mask\.png is 20x30 but its image is 40x60"):
        evaluate(Brightness(), [sample])


def test_no_test_image_is_an_error_that_names_the_cure() -> None:
    with pytest.raises(DataError, match=r"no test images\. Put them into test/good"):
        evaluate(Brightness(), [])


def test_a_model_that_answers_nan_is_refused(tiles: list[Sample]) -> None:
    with pytest.raises(EngineError, match=r"test/good/0\.png got the score nan"):
        evaluate(Constant(float("nan")), tiles)


def test_a_peak_outside_the_mask_is_right_for_the_wrong_reason(add_sample: AddSample) -> None:
    picture, mask = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.uint8)
    picture[30:35, 30:35], mask[5:10, 5:10] = 255, 255
    report = evaluate(Brightness(), [add_sample("test/spot/0.png", picture, "spot", mask)])
    assert report.images[0].is_anomalous
    assert report.images[0].peak_in_mask is False


def test_a_report_survives_json(tiles: list[Sample]) -> None:
    report = evaluate(Brightness(), tiles)
    assert Report.from_json(report.to_json()) == report.with_histograms(())


def test_a_file_that_is_no_report_is_refused() -> None:
    with pytest.raises(DataError, match="not an evaluation report"):
        Report.from_json('{"image_auroc": 1.0}')


def test_metrics_for_a_tracker_are_finite_floats_with_plain_names(tiles: list[Sample]) -> None:
    metrics = evaluate(Brightness(), tiles).metrics()
    assert set(REQUIRED) <= set(metrics)
    assert "defect.scratch.recall" in metrics
    assert all(isinstance(value, float) and np.isfinite(value) for value in metrics.values())


def test_an_alpha_that_cannot_be_had_is_said_with_the_number_of_images_it_takes(
    tiles: list[Sample],
) -> None:
    short_of_images = Brightness(alpha=0.01)  # 19 calibration images allow 0.05 at best
    report = evaluate(short_of_images, tiles)
    assert (report.requested_alpha, report.alpha) == (0.01, 0.05)
    assert any("you need 99" in sentence for sentence in sentences(report))
    assert evaluate(Brightness(alpha=0.05), tiles).requested_alpha is None


def test_the_calibration_image_that_decides_the_threshold_is_named_and_shown(
    tiles: list[Sample], tmp_path: Path
) -> None:
    calibration = (*np.linspace(0.3, 0.4, 18), 0.9)
    names = [f"{number}.png" for number in range(18)]
    detector = Brightness(calibration=calibration, images=[*names, tiles[0].name])
    report = evaluate(detector, tiles)
    assert report.depends_on is not None
    assert report.depends_on.threshold_without == pytest.approx(0.4)
    assert any(f"depends on the calibration image {tiles[0].name}" in s for s in sentences(report))
    page = write_report(report, tmp_path, detector, tiles, normals=tiles[:1])["report.html"]
    assert "The threshold depends on this image" in page.read_text("utf-8")
    assert evaluate(Brightness(), tiles).depends_on is None


def test_more_false_alarms_than_promised_are_said_to_be_so(tiles: list[Sample]) -> None:
    said = " ".join(sentences(evaluate(Constant(1.0), tiles)))
    assert "6 of 6 good images raised a false alarm (100 %)" in said
    assert "this is more" in said
    kept = " ".join(sentences(evaluate(Brightness(), tiles)))
    assert "as guaranteed" in kept


def test_test_images_of_another_kind_than_those_of_calibration_are_said_once(
    trained_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        cv2.imwrite(str(file), np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8))
    samples = [Sample(file, 0, "good", None, "0" * 64, (48, 64), file.name) for file in files]
    evaluate(load_detector(trained_bundle), samples)
    [told] = [each.getMessage() for each in caplog.records if "is in colour" in each.getMessage()]
    assert told.startswith("a.png: The image is in colour, but all images that set the threshold")
