"""What the routes share: one object a server, in `app.state.server`."""

from dataclasses import dataclass

from starlette.requests import Request

from serving.products import Products
from serving.settings import ServerSettings


@dataclass
class State:
    """One running server."""

    settings: ServerSettings
    products: Products
    draining: bool = False
    """Stopping soon: still answers, but is not ready for more."""

    def reasons_not_ready(self) -> list[str]:
        """Empty when every product can answer and the server is not stopping."""
        stopping = ["the server is stopping"] if self.draining else []
        return stopping + self.products.reasons_not_ready()


def state_of(request: Request) -> State:
    """The server that got `request`."""
    state: State = request.app.state.server
    return state
