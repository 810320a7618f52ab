"""Everything that can be set about the server."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serving.api.access import AccessSettings
from serving.url_input.policy import UrlInput
from uad.config import Settings

Seconds = Annotated[float, Field(gt=0, le=3600)]


class Limits(Settings):
    """What one request may cost."""

    body_bytes: Annotated[int, Field(ge=1024)] = 48 * 2**20
    """Largest request body; base64 makes an image a third larger."""
    pixels: Annotated[int, Field(ge=1024, le=2**31)] = 32_000_000
    """Most pixels of one image, read from its header before anything is decoded."""
    side_px: Annotated[int, Field(ge=16, le=1_000_000)] = 100_000
    """Longest side of an image; PNG label maps cannot be longer than the largest value here."""
    large_pixels: Annotated[int, Field(ge=1024)] = 8_000_000
    """An image of more pixels is large: while smaller ones are asked for, one engine process
    takes no large ones, so that small images are not kept waiting."""
    request_pixels: Annotated[int, Field(ge=1024)] = 512_000_000
    """Most pixels of all images of one batch request together."""
    answer_bytes: Annotated[int, Field(ge=4096)] = 160 * 2**20
    """Longest answer, compressed or not; a label map as an array takes 2 to 4 bytes per pixel."""
    images: Annotated[int, Field(ge=1, le=1000)] = 64
    """Most images in one request of the batch route."""
    connections: Annotated[int, Field(ge=1, le=65535)] = 1024
    """Open connections; more are closed at once."""
    head_seconds: Seconds = 10.0
    """Longest time for the head of a request to come, also on a silent connection."""
    body_seconds: Seconds = 30.0
    """Longest time for a body to come."""
    body_bytes_per_second: Annotated[int, Field(ge=1)] = 16 * 2**10
    """A body that comes more slowly than this for 5 seconds is refused."""
    send_seconds: Seconds = 60.0
    """Longest time that a client may read nothing of its answer; reading slowly is allowed."""
    memory_bytes: Annotated[int, Field(ge=2**26)] = 2 * 2**30
    """Memory that an engine process may use for one request (times `batch`), beyond its model."""
    deadline_seconds: Seconds = 10.0
    """Longest time in the queue; a request that would wait longer is refused at once."""
    queue: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Most requests in the queue of a product, however fast it moves."""
    pending_bytes: Annotated[int, Field(ge=2**20)] = 2**30
    """Memory of the front for bodies, images fetched by URL, and answers, all requests together."""
    work_seconds: Seconds = 20.0
    """Longest time in an engine for one image (of a batch: for those judged at once); after that
    the engine is replaced and the request refused."""
    model_bytes: Annotated[int, Field(ge=2**28)] = 4 * 2**30
    """Memory that an engine process may use to load its model, on a CPU."""
    start_seconds: Seconds = 60.0
    """Longest time for an engine process to load a version."""


Keep = Literal["none", "alarms", "all"]


class KeepSettings(Settings):
    """Which judged images are kept under UAD_HOME, where the page shows them."""

    images: Keep = "none"
    """`alarms`: those above the threshold; `all`: every image."""
    megabytes: Annotated[int, Field(ge=1)] = 2000
    """Most space for the images of all products. The oldest are deleted first; those that a person
    said something about are deleted last."""


class DecisionSettings(Settings):
    """One product's own threshold settings, instead of its bundle's."""

    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    threshold: Annotated[float, Field(ge=-1e30, le=1e30)] | None = None
    """Instead of alpha."""
    min_area: Annotated[int, Field(ge=0)] | None = None
    """Smallest defect, in pixels; at least the one that the bundle is calibrated for."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.alpha is not None and self.threshold is not None:
            raise ValueError("give alpha or threshold, not both")
        return self


class ServerSettings(Settings):
    """`uad serve`: what is served, where, and within which limits."""

    models: tuple[str, ...] = ()
    """Products, registry addresses or bundle folders; the first also answers on the bare path."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    hosts: tuple[str, ...] = ()
    """Names by which the page may be opened besides localhost and addresses, for example behind a
    proxy. Asked only of a server on loopback without API keys."""
    device: str = "cpu"
    engine: str = "fastest"
    """That is installed and that the model is calibrated for; or one by its name."""
    precision: str | None = None
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Engine processes per product; None: one per core, or one per device if it is not a CPU."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads per engine process: more answer one request sooner, but fewer per second."""
    batch: Annotated[int, Field(ge=1, le=32)] | None = None
    """Requests that an engine judges together when they wait together; None for 8 on an
    accelerator and 1 on a CPU, where batches gain little."""
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    threshold: Annotated[float, Field(ge=-1e30, le=1e30)] | None = None
    min_area: Annotated[int, Field(ge=0)] | None = None
    """Smallest defect that raises the alarm, in pixels; None for the bundle's."""
    products: dict[str, DecisionSettings] = Field(default_factory=dict)
    """By product: its own alpha or threshold, and smallest defect, instead of those above."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """A second port, on loopback only, for polls and pins; `/metrics` is then only there."""
    wait_for_model: bool = False
    """Start without a model, and be ready when there is one; else the start fails and says why."""
    shadow: bool = False
    """Run the challenger on what the champion has answered, when it is not busy."""
    keep_scores: bool = True
    """Keep the scores of registered products under UAD_HOME, where `uad drift` reads them."""
    keep: KeepSettings = KeepSettings()
    page: bool = True
    """Whether `/` shows the page for people."""
    visualize: bool = True
    """Whether an answer holds the picture when the request does not say."""
    poll_seconds: Seconds = 5.0
    """How often the registry is asked which version is the champion."""
    notice_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0
    """After SIGTERM: time between being not ready and refusing connections, for balancers."""
    drain_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """After that: longest wait for unfinished answers."""
    keep_alive_seconds: Annotated[int, Field(ge=1, le=3600)] = 75
    """How long an idle connection stays open; longer than the balancer's own limit."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    """`json`: one object per line, with the facts of each request."""
    limits: Limits = Limits()
    urls: UrlInput = UrlInput()
    access: AccessSettings = AccessSettings()

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.alpha is not None and self.threshold is not None:
            raise ValueError("give alpha or threshold, not both")
        return self

    def decision(self, product: str) -> DecisionSettings:
        """When an image of the product is anomalous: its own setting before the server's."""
        own = self.products.get(product, DecisionSettings())
        decided = own.alpha is not None or own.threshold is not None
        return DecisionSettings(
            alpha=own.alpha if decided else self.alpha,
            threshold=own.threshold if decided else self.threshold,
            min_area=self.min_area if own.min_area is None else own.min_area,
        )
