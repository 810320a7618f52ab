"""Keep the images that were judged, with their verdicts; off unless the settings ask for it."""

import hashlib
from datetime import UTC, datetime
from functools import partial

from serving.models.products import Product
from serving.telemetry.background_writer import BackgroundWriter
from serving.workers.messages import Reply
from uad.monitoring.judged_images import JudgedImage, JudgedImages, Pictures, image_id


class ImageRecorder:
    """Hands the images of answers to the writer."""

    def __init__(
        self, store: JudgedImages | None, writer: BackgroundWriter, megabytes: int
    ) -> None:
        """`store`: None keeps nothing."""
        self._store, self._writer = store, writer
        self._limit_bytes = megabytes * 10**6

    def keep(self, product: Product, version: str, engine: str, log_id: str, reply: Reply) -> None:
        """Keep the images that the engine process gave back with its reply."""
        if self._store is None:
            return
        now = datetime.now(UTC)
        for kept in reply.kept:
            verdict = reply.verdicts[kept.verdict]
            pictures = Pictures(kept.original, kept.preview, kept.heatmap)
            write = partial(
                _write,
                self._store,
                pictures,
                self._limit_bytes,
                id=image_id(log_id, verdict.position),
                log_id=log_id,
                position=verdict.position,
                product=product.registered_name or product.name,
                version=version,
                engine=engine,
                at=now,
                score=verdict.score,
                threshold=verdict.threshold,
                p_value=verdict.p_value,
                is_anomalous=verdict.is_anomalous,
                facts=kept.facts,
            )
            self._writer.offer("images", write, pictures.total_bytes)


def _write(store: JudgedImages, pictures: Pictures, limit_bytes: int, **facts: object) -> None:
    image = JudgedImage(
        **facts,  # type: ignore[arg-type]
        alpha=float(facts["facts"]["alpha"]),  # type: ignore[index]
        sha256=hashlib.sha256(pictures.original).hexdigest(),
        suffix=pictures.suffix,
        bytes=pictures.total_bytes,
    )
    store.keep(image, pictures, limit_bytes=limit_bytes)
