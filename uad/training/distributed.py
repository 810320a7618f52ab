"""One training on several devices: one process per device, each with its share of every batch.

Every process runs the same loop on the same images in the same order. Gradients are those of the
whole batch; batch norm normalises over a process's own share, and its running statistics are
averaged after each epoch. So all have the same student, and the first process reports for all.

`python -m paddle.distributed.launch` starts the processes. They end with the command.
"""

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import uad
from uad.config import TrainingConfig
from uad.config.choices import parse_devices
from uad.console import progress_bar
from uad.data import Sample
from uad.errors import TrainingError
from uad.models.backbone import Pyramid
from uad.models.paddle_runtime import paddle, require
from uad.models.parts import EpochMetrics, Teacher, TrainedStudent
from uad.storage.paths import cache_dir

JOB, EPOCHS, MODEL, LOGS = "job.pickle", "epochs.jsonl", "model.pickle", "logs"
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Ranks:
    """The processes that train one student together, and which of them this one is."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process reports for all."""
        return self.rank == 0

    def share(self, batch: NDArray[np.intp]) -> NDArray[np.intp]:
        """This process's part of a batch; together the parts are the batch."""
        return np.array_split(batch, self.count)[self.rank]

    def sum(self, value: float) -> float:
        """Over all processes; each gets the same."""
        if self.count == 1:
            return value
        total = paddle.to_tensor([value], "float64")
        self._all_reduce(total)
        return float(total.item())

    def sum_gradients(self, network: Pyramid, weight: float) -> None:
        """Give each process the sum of all processes' gradients, each times its `weight`."""
        if self.count > 1:
            learning = (one for one in network.parameters() if not one.stop_gradient)
            self._add_up([parameter.grad for parameter in learning], weight)

    def agree(self, *networks: Pyramid) -> None:
        """Give each process the mean of all processes' batch norm statistics.

        Raises:
            TrainingError: the networks differ in more than those.
        """
        for network in networks if self.count > 1 else ():
            self._add_up(network.statistics(), 1 / self.count)
            self._check(network)

    def _check(self, network: Pyramid) -> None:
        own = 0
        for array in network.weights().values():
            own = zlib.crc32(array.tobytes(), own)
        # All are equal just where each is the mean of all; sums of whole numbers are exact.
        if self.sum(float(self.sum(float(own)) != own * self.count)):
            raise TrainingError(
                "The devices no longer have the same student: one of them computes wrongly. The "
                "same command continues from the last epoch. If it happens again, use other "
                "devices."
            )

    def _add_up(self, tensors: Sequence[Any], weight: float) -> None:
        with paddle.no_grad():
            flat = paddle.concat([tensor.reshape([-1]) for tensor in tensors]) * weight
            self._all_reduce(flat)
            parts = flat.split([int(np.prod(tensor.shape)) for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                paddle.assign(part.reshape(tensor.shape), output=tensor)

    def _all_reduce(self, tensor: Any) -> None:
        """Put the sum over all processes in its place."""
        paddle.distributed.all_reduce(tensor)


ALONE = Ranks()


def join(device: str) -> Ranks:
    """Meet the other processes that `paddle.distributed.launch` started with this one."""
    if device == "cpu":
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    paddle.distributed.init_parallel_env()
    return Ranks(paddle.distributed.get_rank(), paddle.distributed.get_world_size())


def training_devices(text: str) -> tuple[str, ...]:
    """One device per process: `gpu:0,1` means two. `cpu,cpu` means two on the processor, to try it.

    Raises:
        EngineError: another form.
    """
    parts = text.split(",")
    return tuple(parts) if set(parts) == {"cpu"} else parse_devices(text)


@dataclass(frozen=True)
class TrainingJob:
    """The job of `uad.training.loop.fit`, for processes that share only a folder."""

    device: str
    """Kind of the devices: `cpu` or `gpu`."""
    teacher: Teacher
    train: tuple[Sample, ...]
    selection: tuple[Sample, ...]
    config: TrainingConfig
    checkpoints: Path | None
    key: str


def fit_on(
    devices: Sequence[str],
    teacher: Teacher,
    train: Sequence[Sample],
    selection: Sequence[Sample],
    config: TrainingConfig,
    *,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    checkpoints: Path | None = None,
    key: str = "",
    progress: bool = False,
) -> TrainedStudent:
    """`uad.training.loop.fit` on several devices of this machine.

    Raises:
        EngineError: a device is not there.
        TrainingError: batches are too small to share, or a process failed.
    """
    check_devices(devices)
    options = config.training
    if len(train) // options.steps(len(train)) < len(devices):
        raise TrainingError(
            f"{len(train)} images in batches of {options.batch_size} leave some of {len(devices)} "
            "devices without an image. Name fewer devices, or raise training.batch_size."
        )
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="training-") as name:
        folder, kind = Path(name), devices[0].partition(":")[0]
        job = TrainingJob(kind, teacher, tuple(train), tuple(selection), config, checkpoints, key)
        (folder / JOB).write_bytes(pickle.dumps(job))
        with progress_bar("epochs", visible=progress) as bar, _launched(devices, folder) as process:
            task = bar.add_task(f"on {len(devices)} devices", total=None, note="")
            for metrics in _reported(process, folder / EPOCHS):
                if on_epoch is not None:
                    on_epoch(metrics)
                note = f"selection loss {metrics.values['selection_loss']:.4f}"
                total = options.planned_epochs(len(train))
                bar.update(task, completed=metrics.epoch, total=total, note=note)
        return _outcome(folder, devices)


def check_devices(devices: Sequence[str]) -> None:
    """Refuse what cannot train here, before anything starts.

    Raises:
        EngineError: a device is not there.
        TrainingError: several that are not GPUs.
    """
    if len(devices) > 1 and devices[0].partition(":")[0] not in ("cpu", "gpu"):
        raise TrainingError("Only GPUs can share one training. Name one device.")
    require(devices)


@contextlib.contextmanager
def _launched(devices: Sequence[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The launcher of the processes. All of them end with the block, or with this process."""
    command = [sys.executable, "-m", "paddle.distributed.launch", "--host", "127.0.0.1"]
    command += ["--log_dir", str(folder / LOGS), "--nproc_per_node", str(len(devices))]
    if devices[0] != "cpu":
        command += ["--devices", ",".join(_visible(devices))]
    root, path = str(Path(uad.__file__).parents[1]), os.environ.get("PYTHONPATH")
    threads = int(os.environ["OMP_NUM_THREADS"].partition(",")[0])  # by uad.models.paddle_runtime
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, path))),
        "OMP_NUM_THREADS": str(max(1, threads // len(devices))),
    }
    with subprocess.Popen(
        [*command, sys.executable, "-m", "uad.training", str(folder)],
        stdin=subprocess.PIPE,  # when it closes, the processes end, whatever ended this one
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C is for this process, which ends the others
    ) as process:
        try:
            yield process
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _visible(devices: Sequence[str]) -> list[str]:
    """The launcher's names of the devices: not the n-th visible GPU, as elsewhere, but its own."""
    numbers = [int(device.partition(":")[2]) for device in devices]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    return [str(n) if visible == "all" else visible.split(",")[n] for n in numbers]


def _reported(process: "subprocess.Popen[bytes]", file: Path) -> Iterator[EpochMetrics]:
    """Each epoch, as the first process writes it down, until all have ended."""
    seen, ended = 0, False
    while not ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        ended = process.poll() is not None
        whole = file.read_text().rpartition("\n")[0].splitlines() if file.is_file() else []
        for line in whole[seen:]:
            yield EpochMetrics(**json.loads(line))
        seen = len(whole)


def _outcome(folder: Path, devices: Sequence[str]) -> TrainedStudent:
    if (folder / MODEL).is_file():
        student: TrainedStudent = pickle.loads((folder / MODEL).read_bytes())
        return student
    for told in sorted(folder.glob("error-*")):
        raise TrainingError(told.read_text())
    kept = cache_dir() / f"{folder.name}-logs"
    kept.mkdir()
    for log in folder.glob(f"{LOGS}/workerlog.*"):  # the launcher's others hold the environment
        shutil.copy(log, kept)
    raise TrainingError(
        f"A process of the training on {', '.join(devices)} ended too early. Its output is in "
        f"{kept}. The same command continues from the last epoch."
    )
