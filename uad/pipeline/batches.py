"""Grouping a stream of images for the engine."""

from collections.abc import Callable, Iterator

from uad.errors import DataError, ImageError
from uad.images import Image
from uad.pipeline.inputs import InputImage

Batch = list[tuple[InputImage, Image]]


def batches(
    stream: Iterator[InputImage], size: int, on_bad_image: Callable[[ImageError], None] | None
) -> Iterator[tuple[Batch, DataError | None]]:
    """Full batches and a ragged last one; an error comes with the images before it.

    Args:
        stream: the images, not read yet.
        size: of a full batch.
        on_bad_image: is told of an image that cannot be read, which is left out; without it, the
            first such image ends the stream.
    """
    batch: Batch = []
    try:
        for item in stream:
            try:
                batch.append((item, item.load()))
            except ImageError as exc:
                exc.image = item.path
                if on_bad_image is None:
                    raise
                on_bad_image(exc)
            if len(batch) == size:
                yield batch, None
                batch = []
    except DataError as exc:
        yield batch, exc
        return
    yield batch, None
