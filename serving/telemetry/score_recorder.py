"""Keep the scores of what was judged, so that drift can be seen; no answer waits for it."""

from datetime import UTC, datetime
from functools import partial

from serving.models.products import Product
from serving.telemetry.background_writer import BackgroundWriter
from serving.workers.messages import Reply
from uad.monitoring.judged_images import image_id
from uad.monitoring.score_log import ScoreLog


class ScoreRecorder:
    """Hands the scores of registered products to the writer; a folder has no champion to watch."""

    def __init__(self, score_log: ScoreLog | None, writer: BackgroundWriter) -> None:
        """`score_log`: None keeps nothing."""
        self._score_log, self._writer = score_log, writer

    def keep(self, product: Product, version: str, engine: str, log_id: str, reply: Reply) -> None:
        """Keep the scores of one answer."""
        if self._score_log is None or not product.registered_name or not reply.verdicts:
            return
        scores = [
            (verdict.score, verdict.is_anomalous, image_id(log_id, verdict.position))
            for verdict in reply.verdicts
        ]
        name, now = product.registered_name, datetime.now(UTC)
        self._writer.offer(
            "scores", partial(self._score_log.add, name, version, engine, scores, now)
        )
