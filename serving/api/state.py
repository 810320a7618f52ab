"""The state that routes share: one object per server, in `app.state.server`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from serving.api.access import Access
from serving.api.sessions import Sessions
from serving.models.products import Product, Products
from serving.settings import ServerSettings
from serving.telemetry.background_writer import BackgroundWriter
from serving.telemetry.metrics import Metrics
from serving.telemetry.recorders import ImageRecorder, RecentVerdicts, ScoreRecorder, WarningLog
from serving.url_input.fetcher import Fetcher
from serving.workers.admission import Budget
from serving.workers.messages import Reply
from uad.monitoring.judged_images import JudgedImages
from uad.monitoring.score_log import ScoreLog


@dataclass
class State:
    """One running server."""

    settings: ServerSettings
    products: Products
    access: Access = field(default_factory=Access)
    metrics: Metrics = field(init=False)
    memory: Budget = field(init=False)
    fetcher: Fetcher = field(init=False)
    sessions: Sessions = field(default_factory=Sessions)
    recent: RecentVerdicts = field(default_factory=RecentVerdicts)
    warning_log: WarningLog = field(default_factory=WarningLog)
    writer: BackgroundWriter = field(default_factory=BackgroundWriter)
    judged_images: JudgedImages | None = field(init=False)
    """None: no image is kept."""
    score_recorder: ScoreRecorder = field(init=False)
    image_recorder: ImageRecorder = field(init=False)
    log_lines: BackgroundWriter | None = None
    """Writes the log, if a thread of its own does."""
    draining: bool = False
    """The server will stop soon: it still answers, but is not ready."""

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.products, self.dropped)
        self.fetcher = Fetcher(self.settings.urls)
        keep = self.settings.keep
        score_log = ScoreLog() if self.settings.keep_scores else None
        self.score_recorder = ScoreRecorder(score_log, self.writer)
        self.judged_images = None if keep.images == "none" else JudgedImages()
        self.image_recorder = ImageRecorder(self.judged_images, self.writer, keep.megabytes)
        self.memory = Budget(self.settings.limits.pending_bytes)

    def record(
        self, product: Product, version: str, engine: str, log_id: str, reply: Reply
    ) -> None:
        """Remember what was answered; what goes to the disk is written later."""
        self.recent.note(product.name, version, log_id, reply)
        self.warning_log.note(product, version, log_id, reply)
        self.score_recorder.keep(product, version, engine, log_id, reply)
        self.image_recorder.keep(product, version, engine, log_id, reply)

    def dropped(self) -> Mapping[str, int]:
        """By kind, what could not be written in time."""
        return self.writer.dropped + (self.log_lines.dropped if self.log_lines else Counter())

    def close(self) -> None:
        """End the engines, and write what waits to be written."""
        self.products.close()
        self.access.close()
        self.writer.close()

    def reasons_not_ready(self) -> list[str]:
        """Empty when every product can answer and the server is not stopping."""
        stopping = ["the server is stopping"] if self.draining else []
        return stopping + self.products.reasons_not_ready()


def state_of(request: Request) -> State:
    """The server that got `request`."""
    state: State = request.app.state.server
    return state
