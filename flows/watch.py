"""Check whether a product's folder has new images, to start a retraining."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import flow, runtime
from prefect.events import emit_event
from pydantic import BaseModel, ConfigDict

from flows import logs
from flows.schedule import cancel_overdue
from uad.errors import DataError
from uad.storage.atomic_writes import write_file
from uad.storage.names import place_of
from uad.storage.paths import watch_dir

EVENT = "uad.new-data"
"""Name of the event; `uad deploy --watch` starts a retraining on it. Others may send it too."""
REASON = "new images"
"""The reason of a retraining that this event starts."""
SETTLED_SECONDS = 30.0
"""A folder that changed this recently may be in the middle of a copy."""


class Look(BaseModel):
    """The result of a check of the folder."""

    model_config = ConfigDict(frozen=True)

    product: str
    files: int
    announced: bool
    reason: str


@flow(name="watch", flow_run_name="watch {product}")
def watch(product: str, data: str, settled_seconds: float = SETTLED_SECONDS) -> Look:
    """Send the event `uad.new-data` if the folder changed; once for each state of the folder.

    Only names, sizes and times are compared. The retraining reads and checks new files, and ends
    without training if there are none.
    """
    logs.prepare()
    cancel_overdue()
    found = look(product, Path(data), timedelta(seconds=settled_seconds))
    logs.logger.info("%s: %s", product, found.reason)
    if found.announced and runtime.flow_run.id:
        resource = {"prefect.resource.id": f"uad.product.{product}"}
        emit_event(EVENT, resource=resource, payload=found.model_dump(mode="json"))
    return found


def look(product: str, folder: Path, settled: timedelta, now: datetime | None = None) -> Look:
    """Compare the folder with the last announced state; a new state is stored.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.exists():
        raise DataError(f"{folder} is gone: is the camera's disk mounted?")
    stamps = [(str(file), file.stat()) for file in sorted(folder.rglob("*")) if file.is_file()]
    listed = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stamps]
    state = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    record = place_of(watch_dir(), product, suffix=".json")
    youngest = max((stat.st_mtime for _, stat in stamps), default=0.0)
    age = (now or datetime.now(UTC)).timestamp() - youngest
    if not stamps or state == _announced(record):
        return Look(product=product, files=len(stamps), announced=False, reason="nothing new")
    if age < settled.total_seconds():
        return Look(
            product=product, files=len(stamps), announced=False, reason="files are still arriving"
        )
    write_file(record, json.dumps({"state": state}))
    return Look(product=product, files=len(stamps), announced=True, reason="the folder changed")


def _announced(record: Path) -> str | None:
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["state"])
    except (OSError, ValueError, KeyError):
        return None
