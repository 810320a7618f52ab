"""Look whether a product's recent images are still like those its threshold was set on."""

import re
from datetime import datetime

from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from flows import logs
from flows.schedule import cancel_overdue
from flows.tracking import REGISTRY
from uad.monitoring.drift import LEVEL
from uad.operations.drift import DRIFTED, DriftReport, announced_first, look_at_scores
from uad.storage.names import ProductName

EVENT = "uad.drift"
"""Name of the event that an automation in Prefect can listen to."""
REASON = DRIFTED
"""The reason of a retraining that this event starts."""


@task(name="check drift", task_run_name="check drift of {product}", **REGISTRY)
def check_drift(
    product: ProductName, hours: float = 24.0, level: float = LEVEL, now: datetime | None = None
) -> DriftReport:
    """Compare the champion's scores of the hours before `now` with its calibration scores."""
    return look_at_scores(product, hours, level, now)


@flow(name="drift", flow_run_name="drift of {product}")
def drift(
    product: ProductName, hours: float = 24.0, level: float = LEVEL, now: datetime | None = None
) -> DriftReport:
    """Check a product's scores; a finding is an artifact and, once per window, an event."""
    logs.prepare()
    cancel_overdue()
    found = check_drift(product, hours, level, now)
    tell(found)
    return found


def tell(found: DriftReport) -> None:
    """Put the finding where people and automations look."""
    logs.logger.info("%s: %s", found.product, found.advice)
    if not (found.detected and runtime.flow_run.id):
        return
    key = re.sub("[^a-z0-9]+", "-", f"drift-{found.product}".lower()).strip("-")
    create_markdown_artifact(found.markdown(), key=key, description=found.advice)
    if announced_first(found):
        resource = {"prefect.resource.id": f"uad.product.{found.product}"}
        emit_event(EVENT, resource=resource, payload=found.model_dump(mode="json"))
