"""Several detectors of one model, one per device, that share each batch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from uad.images import Image
from uad.inference.detector import Detection


class AnyDetector(Protocol):
    """What a pipeline runs: a detector, or several on as many devices."""

    def detect(
        self,
        images: Sequence[Image],
        *,
        alpha: float | None = None,
        threshold: float | None = None,
        min_area: int | None = None,
    ) -> list[Detection]:
        """See `uad.inference.detector.Detector.detect`."""
        ...

    def check_golden(self) -> None:
        """See `uad.inference.detector.Detector.check_golden`."""
        ...

    def close(self) -> None:
        """Release the model."""
        ...


class MultiDeviceDetector:
    """Splits a batch into equal parts, one a member, and judges them at the same time."""

    def __init__(self, members: Sequence[AnyDetector]) -> None:
        self._members = list(members)
        self._threads = ThreadPoolExecutor(len(self._members), thread_name_prefix="uad-device")

    def detect(
        self,
        images: Sequence[Image],
        *,
        alpha: float | None = None,
        threshold: float | None = None,
        min_area: int | None = None,
    ) -> list[Detection]:
        """The results in the images' order."""
        share = -(-len(images) // len(self._members))
        parts = [images[start : start + share] for start in range(0, len(images), share or 1)]
        under_way = [
            self._threads.submit(
                member.detect, part, alpha=alpha, threshold=threshold, min_area=min_area
            )
            for member, part in zip(self._members, parts, strict=False)
        ]
        return [detection for part in under_way for detection in part.result()]

    def check_golden(self) -> None:
        """Every member must reproduce the golden scores."""
        for member in self._members:
            member.check_golden()

    def close(self) -> None:
        """Release all."""
        self._threads.shutdown()
        for member in self._members:
            member.close()
