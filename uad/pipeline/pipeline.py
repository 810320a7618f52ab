"""The pipeline: a model that is loaded once and asked often."""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from uad.errors import CalibrationError, ConfigError, ImageError, ServingError
from uad.hot_reload import AliasWatcher, ModelSlot, Status
from uad.images import Image
from uad.inference.detector import Detection
from uad.pipeline.inputs import Batch, InputImage, batches, items
from uad.pipeline.multi_device import AnyDetector
from uad.pipeline.result import Result
from uad.scoring.verdicts import FileNames

Detect = Callable[[AnyDetector, Sequence[Image]], list[Detection]]


class Pipeline:
    """Judges images with the model that `slot` has; made by `create_pipeline`."""

    def __init__(
        self,
        slot: ModelSlot[AnyDetector],
        *,
        batch_size: int = 1,
        watcher: AliasWatcher[AnyDetector] | None = None,
    ) -> None:
        self._slot = slot
        self._watcher = watcher
        self._batch_size = batch_size

    def predict(
        self,
        input: Any,
        batch_size: int | None = None,
        *,
        alpha: float | None = None,
        threshold: float | None = None,
        min_area: int | None = None,
        on_bad_image: Callable[[ImageError], None] | None = None,
    ) -> Iterator[Result]:
        """Judge images, one after the other, as they are asked for.

        Args:
            input: a BGR array (H, W, 3) uint8 (grey, 16-bit and BGRA are converted), a path, a
                folder with its subfolders, a URL, `{"img": ...}` or `{"input": ...}`, or a list
                of all these.
            batch_size: images in one inference; results do not depend on it.
            alpha: target false alarm rate, for this call.
            threshold: instead, the score above which an image is anomalous, for this call.
            min_area: smallest defect that raises the alarm, in pixels of the image, for this call;
                at least the one that the model is calibrated for.
            on_bad_image: called with the error of an image that cannot be read, which is then
                left out. Without it the error is raised, after the results of all images before.

        Yields:
            One Result per image, in the input's order.

        Raises:
            ImageError: an image cannot be read; named by its path.
            DataError: an input that is not an image, or a folder without images.
            CalibrationError: both alpha and threshold are given, or one is impossible.
        """
        size = self._batch_size if batch_size is None else batch_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"batch_size must be a whole number, at least 1, not {size!r}.")
        if alpha is not None and threshold is not None:
            raise CalibrationError("give alpha or threshold, not both")

        def detect(judge: AnyDetector, images: Sequence[Image]) -> list[Detection]:
            return judge.detect(images, alpha=alpha, threshold=threshold, min_area=min_area)

        return self._predict(items(input), size, detect, on_bad_image)

    __call__ = predict

    def status(self) -> Status | None:
        """What the watcher says; None if this pipeline does not follow."""
        return None if self._watcher is None else self._watcher.status()

    @property
    def model_version(self) -> str:
        """The version that answers now."""
        with self._slot.use() as served:
            return served.version

    def close(self) -> None:
        """Stop following and release the model after the last running image."""
        if self._watcher is not None:
            self._watcher.stop()
        self._slot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _predict(
        self,
        stream: Iterator[InputImage],
        size: int,
        detect: Detect,
        on_bad_image: Callable[[ImageError], None] | None,
    ) -> Iterator[Result]:
        names = FileNames()
        for batch, error in batches(stream, size, on_bad_image):
            yield from self._detect(batch, names, detect)
            if error is not None:
                raise error

    def _detect(self, batch: Batch, names: FileNames, detect: Detect) -> list[Result]:
        if not batch:
            return []
        if self._slot.current is None:
            raise ServingError("This pipeline is closed. Make another with create_pipeline.")
        images = [image for _, image in batch]
        with self._slot.use() as served:
            found = detect(served.detector, images)
        return [
            Result(item, names.free(item.stem), image, detection, served.version)
            for (item, image), detection in zip(batch, found, strict=True)
        ]
