"""Keep the scores of what was judged, so that drift can be seen; never at a request's cost."""

import logging

from serving.models.products import Product
from serving.workers.messages import Reply
from uad.monitoring.score_log import ScoreLog

logger = logging.getLogger(__name__)


class ScoreRecorder:
    """Writes the scores of registered products; a bundle's folder has no champion to watch."""

    def __init__(self, score_log: ScoreLog | None) -> None:
        self._score_log = score_log
        self._complained = False

    def keep(self, product: Product, version: str, engine: str, reply: Reply) -> None:
        """Add the images of one answer; a full disk is logged once and stops nothing."""
        if self._score_log is None or not product.registered_name or not reply.verdicts:
            return
        scores = [(verdict.score, verdict.is_anomalous) for verdict in reply.verdicts]
        try:
            self._score_log.add(product.registered_name, version, engine, scores)
        except OSError as exc:
            if not self._complained:
                logger.warning("scores are not kept, so drift will not be seen: %s", exc)
            self._complained = True
