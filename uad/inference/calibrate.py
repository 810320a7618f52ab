"""Set a bundle's threshold for one engine from normal images that were used for nothing else."""

from collections.abc import Sequence

from uad.bundle import Bundle, CalibrationEntry, ZoneCalibration, add_calibration
from uad.config.training import Zones
from uad.console import console, progress_bar
from uad.data import Sample, captures
from uad.errors import CalibrationError
from uad.images import read
from uad.inference.detector import Scorer
from uad.inference.engines import Engine, load_engine
from uad.scoring.conformal import conformal_threshold, dependence, shortfall_sentence
from uad.scoring.looks import Look, Looks
from uad.scoring.regions import check_fits
from uad.scoring.zone_alpha import alpha_outside, check_zones, on_image_scale

TOLERANCE = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2, "int8": 2e-2}
"""Largest relative difference of a golden score between machines, by precision."""


def calibrate(
    bundle: Bundle,
    samples: Sequence[Sample],
    *,
    alpha: float,
    min_area: int = 0,
    zones: Zones = (),
    group_pattern: str | None = None,
    engine: str = "onnxruntime",
    precision: str = "fp32",
    device: str = "cpu",
    threads: int | None = None,
    progress: bool = False,
    quiet: bool = False,
) -> Bundle:
    """Score the calibration images with one engine and write its entry into the bundle.

    Args:
        bundle: any previous entry of this engine and precision is replaced.
        samples: normal images that were not used for training, selection or normalisation.
        alpha: target false alarm rate.
        min_area: smallest defect that counts, in pixels of the image; 0: any.
        zones: parts of the image with an alpha of their own, which is taken out of `alpha`.
        group_pattern: what tells captures apart in the names; None: each image is its own.
        engine: which engine, at which `precision`, on how many `threads`.
        precision: see `engine`.
        device: where that engine runs.
        threads: see `engine`.
        progress: show a bar on standard error.
        quiet: do not warn that `alpha` cannot be guaranteed, that the images show too few captures,
            or that the threshold depends on one image.

    Raises:
        CalibrationError: no images, too few for the zones' alphas, or one is smaller than
            `min_area`.
    """
    if not samples:
        raise CalibrationError("calibration needs normal images: none were given")
    for sample in samples:
        check_fits(min_area, sample.size)
    check_zones(zones, alpha, len(samples))
    loaded = load_engine(bundle, engine, device=device, precision=precision, threads=threads)
    try:
        scorer = Scorer(bundle, loaded, min_area, zones)
        shown = captures(samples, group_pattern)
        entry = _entry(scorer, samples, shown, loaded, alpha, progress)
    finally:
        loaded.close()
    if not quiet:
        _warn(entry, samples)
    return add_calibration(bundle, loaded.key, entry)


def _entry(
    scorer: Scorer,
    samples: Sequence[Sample],
    shown: Sequence[int],
    engine: Engine,
    alpha: float,
    progress: bool,
) -> CalibrationEntry:
    found, names, peaks, looks = [], [], [], []
    with progress_bar("images", visible=progress) as bar:
        task = bar.add_task("calibrate", total=len(samples), note=engine.key)
        for sample in samples:
            image = read(sample.path)
            (scored,) = scorer.score([image])
            looks.append(Look.of(image))
            found.append((scored.score, scored.map_peak))
            names.append(sample.name)
            peaks.append(scored.zone_peaks)
            bar.advance(task)
    golden = [scorer.score([image])[0].score for image in scorer.bundle.golden()]
    entry = calibration_entry(
        *(scorer.bundle, found, golden),
        alpha=alpha_outside(alpha, scorer.zones),
        tolerance=TOLERANCE[engine.precision],
        names=names,
        captures=shown,
        min_area=scorer.min_area,
    ).model_copy(update={"looks": Looks.common(looks)})
    return _with_zone_thresholds(
        entry, [score for score, _ in found], peaks, names, shown, scorer.zones, alpha
    )


def _with_zone_thresholds(
    entry: CalibrationEntry,
    scores: Sequence[float],
    peaks: Sequence[Sequence[float]],
    names: Sequence[str],
    shown: Sequence[int],
    zones: Zones,
    alpha: float,
) -> CalibrationEntry:
    """The entry of what lies outside of the zones, completed by them; without zones as it is.

    Args:
        entry: calibrated for what the zones leave of `alpha`.
        scores: of the calibration images outside of the zones.
        peaks: of each calibration image its score in each zone.
        names: of the calibration images.
        shown: of each the number of its capture; may be empty.
        zones: in the order of the peaks.
        alpha: target false alarm rate of the image.
    """
    if not zones:
        return entry
    own = [list(column) for column in zip(*peaks, strict=True)]
    thresholds = [
        conformal_threshold(column, zone.alpha)[0] for column, zone in zip(own, zones, strict=True)
    ]
    images = on_image_scale(scores, entry.threshold, list(zip(own, thresholds, strict=True)))
    order = sorted(range(len(images)), key=images.__getitem__)
    return entry.model_copy(
        update={
            "alpha": alpha,
            "requested_alpha": alpha,
            "scores": tuple(images[index] for index in order),
            "images": tuple(names[index] for index in order),
            "captures": tuple(shown[index] for index in order) if shown else (),
            "outside_scores": tuple(sorted(scores)),
            "zones": tuple(
                ZoneCalibration(zone=zone, threshold=threshold, scores=tuple(sorted(column)))
                for zone, threshold, column in zip(zones, thresholds, own, strict=True)
            ),
        }
    )


def calibration_entry(
    bundle: Bundle,
    found: Sequence[tuple[float, float]],
    golden_scores: Sequence[float],
    *,
    alpha: float,
    tolerance: float,
    names: Sequence[str] = (),
    captures: Sequence[int] = (),
    min_area: int = 0,
) -> CalibrationEntry:
    """An engine's entry.

    Args:
        bundle: whose score is its map's maximum, or not.
        found: of each calibration image its score and its map's peak.
        golden_scores: of the golden inputs, in order.
        alpha: target false alarm rate.
        tolerance: of the golden scores.
        names: of the calibration images, in the order of `found`.
        captures: of each the number of its capture, in that order; may be empty.
        min_area: smallest defect that the scores count, in pixels of the image.
    """
    scores, maxima = (tuple(sorted(values)) for values in zip(*found, strict=True))
    in_order = sorted(range(len(names)), key=lambda index: found[index][0])
    threshold, achieved = conformal_threshold(scores, alpha)
    has_own = bundle.manifest.detector is not None
    return CalibrationEntry(
        alpha=achieved,
        requested_alpha=alpha,
        threshold=threshold,
        scores=scores,
        images=tuple(names[index] for index in in_order),
        captures=tuple(captures[index] for index in in_order) if captures else (),
        golden_scores=tuple(golden_scores),
        min_area=min_area,
        tolerance=tolerance,
        map_threshold=conformal_threshold(maxima, alpha)[0] if has_own else None,
        map_maxima=maxima if has_own else (),
    )


def _warn(entry: CalibrationEntry, samples: Sequence[Sample]) -> None:
    short = shortfall_sentence(entry.requested_alpha, entry.alpha, len(samples), entry.n_captures)
    sentences = [short] if short else []
    if found := dependence(entry.scores, entry.images, entry.threshold):
        files = [str(sample.path) for sample in samples if sample.name == found.image]
        sentences.append(" ".join([found.sentence(), *(f"Its file: {file}" for file in files)]))
    for sentence in sentences:
        console().print(f"warning: {sentence}", style="yellow")
