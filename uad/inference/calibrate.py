"""Set a bundle's threshold for one engine from normal images that chose nothing before."""

from collections.abc import Sequence

from uad.bundle import Bundle, CalibrationEntry, add_calibration
from uad.console import console, progress_bar
from uad.data import Sample
from uad.errors import CalibrationError
from uad.images import read
from uad.inference.detector import Scorer
from uad.inference.engines import Engine, load_engine
from uad.scoring.conformal import conformal_threshold, images_needed

TOLERANCE = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2, "int8": 2e-2}
"""Largest relative difference of a golden score between machines, by precision."""


def calibrate(
    bundle: Bundle,
    samples: Sequence[Sample],
    *,
    alpha: float,
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
        samples: normal images that trained, chose and normalised nothing.
        alpha: target false alarm rate.
        engine: which engine, at which `precision`, on how many `threads`.
        precision: see `engine`.
        device: where that engine runs.
        threads: see `engine`.
        progress: show a bar on standard error.
        quiet: do not warn that so few images promise less than `alpha`.

    Raises:
        CalibrationError: no images, or one of them trained or selected this bundle's model.
    """
    if not samples:
        raise CalibrationError("calibration needs normal images: none were given")
    loaded = load_engine(bundle, engine, device=device, precision=precision, threads=threads)
    try:
        entry = _entry(Scorer(bundle, loaded), samples, loaded, alpha, progress)
    finally:
        loaded.close()
    if not quiet:
        _warn_if_few(entry, len(samples))
    return add_calibration(bundle, loaded.key, entry)


def _entry(
    scorer: Scorer, samples: Sequence[Sample], engine: Engine, alpha: float, progress: bool
) -> CalibrationEntry:
    found = []
    with progress_bar(visible=progress) as bar:
        task = bar.add_task("calibrate", total=len(samples), note=engine.key)
        for sample in samples:
            (scored,) = scorer.score([read(sample.path)])
            found.append((scored.score, float(scored.anomaly_map.max())))
            bar.advance(task)
    golden = [scorer.score([image])[0].score for image in scorer.bundle.golden()]
    return calibration_entry(
        scorer.bundle, found, golden, alpha=alpha, tolerance=TOLERANCE[engine.precision]
    )


def calibration_entry(
    bundle: Bundle,
    found: Sequence[tuple[float, float]],
    golden_scores: Sequence[float],
    *,
    alpha: float,
    tolerance: float,
) -> CalibrationEntry:
    """An engine's entry.

    Args:
        bundle: whose score is its map's maximum, or not.
        found: of each calibration image its score and its map's maximum.
        golden_scores: of the golden inputs, in order.
        alpha: target false alarm rate.
        tolerance: of the golden scores.
    """
    scores, maxima = (tuple(sorted(values)) for values in zip(*found, strict=True))
    threshold, achieved = conformal_threshold(scores, alpha)
    has_own = bundle.manifest.detector is not None
    return CalibrationEntry(
        alpha=achieved,
        requested_alpha=alpha,
        threshold=threshold,
        scores=scores,
        golden_scores=tuple(golden_scores),
        tolerance=tolerance,
        map_threshold=conformal_threshold(maxima, alpha)[0] if has_own else None,
        map_maxima=maxima if has_own else (),
    )


def _warn_if_few(entry: CalibrationEntry, count: int) -> None:
    if entry.alpha > entry.requested_alpha:
        console().print(
            f"[yellow]warning:[/] {count} calibration images promise a false alarm rate of "
            f"{entry.alpha:.3f}, not {entry.requested_alpha:g}; that needs "
            f"{images_needed(entry.requested_alpha)}",
        )
