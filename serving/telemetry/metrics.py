"""What is counted, in Prometheus' text format under `/metrics`."""

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from serving.models.products import Product, Products
from serving.telemetry.background_writer import KINDS
from serving.workers.messages import Reply

SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32)
RATIOS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2, 4, 10)
P_VALUES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """The counters of one server; nothing is global."""

    def __init__(self, products: Products, dropped: Callable[[], Mapping[str, int]]) -> None:
        """`dropped`: by kind, what could not be written in time."""
        self._registry = CollectorRegistry()
        self._registry.register(_Now(products))
        self._registry.register(_Dropped(dropped))
        self._requests = self._counter("uad_requests", "Answered requests.", "status")
        self._seconds = self._histogram(
            "uad_request_seconds", "Seconds from the head of the request to the answer.", SECONDS
        )
        self._stages = self._histogram("uad_stage_seconds", "By stage.", SECONDS, "stage")
        self._together = self._histogram(
            "uad_batch", "Requests that an engine judged at once.", BATCHES
        )
        self._ratios = self._histogram("uad_score_ratio", "Score over threshold.", RATIOS)
        self._p_values = self._histogram("uad_p_value", "p-values of the images.", P_VALUES)
        self._anomalous = self._counter("uad_anomalous", "Images above the threshold.")

    def note(self, product: str, reply: Reply, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(product, reply.status).inc()
        self._seconds.labels(product).observe(seconds)
        if "infer" in reply.seconds:
            self._together.labels(product).observe(reply.together)
        for stage, spent in reply.seconds.items():
            self._stages.labels(product, stage).observe(spent)
        for verdict in reply.verdicts:
            self._p_values.labels(product).observe(verdict.p_value)
            self._anomalous.labels(product).inc(verdict.is_anomalous)
            if verdict.threshold > 0:
                self._ratios.labels(product).observe(verdict.score / verdict.threshold)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, ("product", *labels), registry=self._registry)

    def _histogram(
        self, name: str, words: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            name, words, ("product", *labels), buckets=buckets, registry=self._registry
        )


class _Dropped:
    """What could not be written in time."""

    def __init__(self, dropped: Callable[[], Mapping[str, int]]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client."""
        words = "Scores, images or log lines not written: too many waited, or the disk failed."
        dropped = CounterMetricFamily("uad_not_kept", words, labels=["kind"])
        counted = self._dropped()
        for kind in KINDS:
            dropped.add_metric([kind], counted.get(kind, 0))
        yield dropped


class _Now:
    """Values that are read from the products when Prometheus asks."""

    def __init__(self, products: Products) -> None:
        self._products = products

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client."""
        gauges = {
            "uad_queue": GaugeMetricFamily("uad_queue", "Requests that wait.", labels=["product"]),
            "uad_engines": GaugeMetricFamily(
                "uad_engines", "Engine processes that are running.", labels=["product"]
            ),
            "uad_version": GaugeMetricFamily(
                "uad_version", "1 for each: serving, desired, failed.",
                labels=["product", "role", "version"],
            ),
            "uad_registry_up": GaugeMetricFamily(
                "uad_registry_up", "1: the registry answered the last poll.", labels=["product"]
            ),
            "uad_alias_age_seconds": GaugeMetricFamily(
                "uad_alias_age_seconds", "Since the registry's last answer.", labels=["product"]
            ),
        }  # fmt: skip
        shadow = CounterMetricFamily(
            "uad_shadow", "Requests that the challenger saw.", labels=["product", "outcome"]
        )
        for product in self._products:
            _read(product, gauges)
            if product.shadow is not None:
                for outcome, count in product.shadow.outcomes.items():
                    shadow.add_metric([product.name, outcome], count)
        return [*gauges.values(), shadow]


def _read(product: Product, gauges: dict[str, GaugeMetricFamily]) -> None:
    served = product.slot.current
    name = [product.name]
    if served is not None:
        gauges["uad_queue"].add_metric(name, served.detector.queued)
        gauges["uad_version"].add_metric([*name, "serving", served.version], 1)
    gauges["uad_engines"].add_metric(name, len(served.detector.pids) if served else 0)
    if product.followed is None:
        return
    status = product.followed.watcher.status()
    if status.desired:
        gauges["uad_version"].add_metric([*name, "desired", status.desired], 1)
    if product.shadow is not None and (challenger := product.shadow.slot.current):
        gauges["uad_version"].add_metric([*name, "shadow", challenger.version], 1)
    for failure in status.failed:
        gauges["uad_version"].add_metric([*name, "failed", failure.version], 1)
    registry = product.followed.registry
    gauges["uad_registry_up"].add_metric(name, float(not registry.is_down))
    if registry.answered_at is not None:
        gauges["uad_alias_age_seconds"].add_metric(name, time.monotonic() - registry.answered_at)
