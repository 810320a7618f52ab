"""One retraining of a product at a time on this machine."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from uad.errors import BusyError
from uad.storage.atomic_writes import write_file
from uad.storage.names import place_of
from uad.storage.paths import locks_dir


@contextmanager
def only_retraining(product: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the product's lock; it is released by the system if the process dies.

    Raises:
        BusyError: another retraining of the product holds it, and did for `wait_seconds`.
    """
    file = place_of(locks_dir(), product, prefix="retrain-", suffix=".lock")
    holder = file.with_suffix(".json")
    lock = FileLock(file, timeout=wait_seconds)
    try:
        lock.acquire()
    except Timeout as exc:
        raise BusyError(
            f"another retraining of '{product}' is running{_told(holder)}: wait for it, or end it"
        ) from exc
    try:
        facts = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        write_file(holder, json.dumps(facts))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _told(holder: Path) -> str:
    try:
        facts = json.loads(holder.read_text(encoding="utf-8"))
        return f" (process {facts['pid']}, since {facts['since']})"
    except (OSError, ValueError, KeyError):
        return ""
