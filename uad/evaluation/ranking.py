"""Which test images a person should look at first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from uad.evaluation.explanations import said_good_sentence
from uad.evaluation.report import ImageResult, Report
from uad.scoring.conformal import Dependence

WRONG, ELSEWHERE, CLOSE, CLEAR = 12, 6, 6, 4


@dataclass(frozen=True)
class Shelf:
    """Images that belong together, in the order to look at them."""

    title: str
    why: str
    images: tuple[ImageResult, ...]


def wrongness(image: ImageResult, threshold: float) -> float:
    """How far the score lies on the wrong side of the threshold, as a log ratio; below 0 = right.

    A false alarm at twice the threshold is as wrong as a miss at half of it.
    """
    tiny = max(abs(threshold), 1e-12) * 1e-6
    ratio = math.log(max(image.score, tiny) / max(threshold, tiny))
    return -ratio if image.label else ratio


def most_wrong_first(report: Report) -> list[ImageResult]:
    """All images, the worst mistakes first and the clearest right verdicts last."""
    return sorted(report.images, key=lambda image: -wrongness(image, report.threshold))


def worst(report: Report, count: int) -> list[ImageResult]:
    """The worst of both kinds of mistake in turn, then the closest calls."""
    ordered = most_wrong_first(report)
    turns = chain.from_iterable(zip_longest(*_mistakes(ordered)))
    mistakes = [image for image in turns if image is not None]
    return [*mistakes, *(image for image in ordered if not image.is_wrong)][:count]


def deciding_image(report: Report) -> Shelf | None:
    """The calibration image that the threshold depends on, if there is one and it has a name."""
    one = report.depends_on
    if one is None or one.image is None:
        return None
    image = ImageResult(
        name=one.image,
        label=0,
        defect="calibration image",
        score=report.threshold,
        is_anomalous=False,
        p_value=2 / (report.n_calibration + 1),
        has_mask=False,
    )
    return Shelf(
        "The threshold depends on this image",
        Dependence(one.image, report.threshold, one.threshold_without).sentence(),
        (image,),
    )


def said_good(report: Report) -> Shelf | None:
    """Images that people called good after a false alarm, if there are any."""
    if not report.said_good:
        return None
    ordered = sorted(report.said_good, key=lambda image: -image.score)
    return Shelf(
        "Called good by people",
        f"{said_good_sentence(report)} The highest scores come first.",
        _first(ordered, WRONG),
    )


def shelves(report: Report) -> list[Shelf]:
    """Mistakes, hits at the wrong place, narrow and clear verdicts; empty groups are left out."""
    ordered = most_wrong_first(report)
    right = [image for image in ordered if not image.is_wrong]
    lucky = [image for image in right if image.label and image.peak_in_mask is False]
    sure = [image for image in right if image not in lucky]
    clear = [image for image in reversed(sure) if image.label] or sure[::-1]
    close = _first(sure, CLOSE)
    missed, alarms = _mistakes(ordered)
    found = [
        Shelf(
            "Missed defects",
            "Defective images without an alarm. The lowest scores come first.",
            _first(missed, WRONG),
        ),
        Shelf(
            "False alarms",
            (
                "Good images with an alarm. The highest scores come first. Check that they really "
                "are good."
            ),
            _first(alarms, WRONG),
        ),
        Shelf(
            "Found, but highest beside the defect",
            (
                "There was an alarm. The highest point of the map lies beside the mask: often just "
                "beside a thin one, sometimes on another defect. Check the mask and the part."
            ),
            _first(lucky, ELSEWHERE),
        ),
        Shelf(
            "Close calls",
            "Right verdicts. Those closest to the threshold come first.",
            close,
        ),
        Shelf(
            "Clearest verdicts",
            "The clearest right verdicts.",
            _first([image for image in clear if image not in close], CLEAR),
        ),
    ]
    return [shelf for shelf in found if shelf.images]


def _mistakes(ordered: Sequence[ImageResult]) -> tuple[list[ImageResult], list[ImageResult]]:
    wrong = [image for image in ordered if image.is_wrong]
    return [image for image in wrong if image.label], [image for image in wrong if not image.label]


def _first(images: Sequence[ImageResult], count: int) -> tuple[ImageResult, ...]:
    return tuple(images[:count])
