"""Train the bundle of a product: one training at a time, each in its own folder."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from uad.bundle import Bundle, read_bundle
from uad.errors import BundleError, BusyError
from uad.models.parts import EpochMetrics
from uad.operations.inputs import TrainingInputs
from uad.scoring.parts import described_parts
from uad.storage.atomic_writes import write_file
from uad.storage.names import DatasetAddress, ProductName, place_of
from uad.storage.paths import bundles_dir, locks_dir


def get_ready(product: ProductName) -> None:
    """Load what every retraining needs, and make the registry's tables: some seconds."""
    from importlib import import_module

    from uad.registry import RunTracker

    import_module("sklearn.covariance")
    RunTracker().check_storage(product)


def train_bundle(
    inputs: TrainingInputs,
    product: ProductName,
    *,
    device: str = "cpu",
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    take_finished: bool = False,
    progress: bool = False,
) -> Bundle:
    """Fit, calibrate and check a detector.

    After a kill the same call continues from the last epoch. With `take_finished` it uses the
    bundle if it was finished before.
    """
    from uad.training import train

    output = bundle_folder(product, inputs.address, inputs.key)
    if take_finished and is_complete(output):
        return read_bundle(output)
    return train(
        inputs.dataset,
        inputs.config,
        inputs.teacher,
        output,
        device=device,
        on_epoch=on_epoch,
        progress=progress,
    )


def stopped_sentence(*, has_student: bool) -> str:
    """What Ctrl-C in a retraining is answered with. Only a student is trained in epochs."""
    told = "Stopped. The model that serves has not changed. Run the same command again"
    return (
        f"{told}: a training continues from its last finished epoch." if has_student else f"{told}."
    )


def described(bundle: Bundle) -> str:
    """Input, parts and epoch of a trained bundle, for people."""
    made = bundle.manifest
    kept = "no student" if made.chosen_epoch is None else f"epoch {made.chosen_epoch} kept"
    size = f"{made.input.height} x {made.input.width}"
    return f"input {size} (height x width), parts {described_parts(made.detector)}, {kept}"


def bundle_folder(product: ProductName, dataset: DatasetAddress, key: str) -> Path:
    """Where the bundle of a training lies: the same training, the same place."""
    return place_of(bundles_dir(), product) / f"{dataset.partition('@')[2]}-{key[:12]}"


def is_complete(bundle: Path) -> bool:
    """Whether the folder holds a whole bundle."""
    from uad.training.output import is_whole

    try:
        return is_whole(read_bundle(bundle))
    except BundleError:
        return False


@contextmanager
def only_retraining(product: ProductName, wait_seconds: float = 0.0) -> Iterator[None]:
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
            f"another retraining of '{product}' is running{_told(holder)}: wait until it ends, or "
            "stop it"
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
