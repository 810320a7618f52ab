"""What the routes share: one object a server, in `app.state.server`."""

from dataclasses import dataclass, field

from starlette.requests import Request

from serving.api.access import Access
from serving.models.products import Products
from serving.settings import ServerSettings
from serving.telemetry.metrics import Metrics
from serving.telemetry.score_recorder import ScoreRecorder
from serving.url_input.fetcher import Fetcher
from serving.workers.admission import Budget
from uad.monitoring.score_log import ScoreLog


@dataclass
class State:
    """One running server."""

    settings: ServerSettings
    products: Products
    access: Access = field(default_factory=Access)
    metrics: Metrics = field(init=False)
    bodies: Budget = field(init=False)
    fetcher: Fetcher = field(init=False)
    score_recorder: ScoreRecorder = field(init=False)
    draining: bool = False
    """Stopping soon: still answers, but is not ready for more."""

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.products)
        self.fetcher = Fetcher(self.settings.urls)
        self.score_recorder = ScoreRecorder(ScoreLog() if self.settings.keep_scores else None)
        self.bodies = Budget(self.settings.limits.pending_bytes)

    def reasons_not_ready(self) -> list[str]:
        """Empty when every product can answer and the server is not stopping."""
        stopping = ["the server is stopping"] if self.draining else []
        return stopping + self.products.reasons_not_ready()


def state_of(request: Request) -> State:
    """The server that got `request`."""
    state: State = request.app.state.server
    return state
