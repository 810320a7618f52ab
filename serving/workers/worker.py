"""The front's end of one engine process: start it, ask it, notice its end."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from serving.inference.spec import EngineSpec
from serving.workers.messages import Job, Reply
from uad.errors import BundleError, EngineLostError

ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
ENVIRONMENT_STARTS = ("CUDA_", "NVIDIA_", "ORT_", "OPENVINO_")


class WorkerProcess:
    """One engine process. Not safe to share between threads."""

    def __init__(self, spec: EngineSpec) -> None:
        """Start the process; wait until it has loaded the version and checked its golden scores.

        Raises:
            BundleError: it refused the version, died, or took too long.
        """
        self._work_seconds = spec.limits.work_seconds
        self._began = False
        self._process, self._engine = _started(spec.limits.work_seconds)
        try:
            self._send(spec.model_dump_json().encode())
            ready = orjson.loads(self._receive(spec.limits.start_seconds))
        except EngineLostError as exc:
            raise BundleError(f"{spec.bundle} cannot be loaded: {exc}") from exc
        if "error" in ready:
            self.kill()
            raise BundleError(ready["error"])
        self.key: str = ready["engine"]

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def answer(self, jobs: Sequence[Job]) -> list[Reply]:
        """Have requests answered, together.

        Raises:
            EngineLostError: the process ended or was too slow; it is gone, start another one.
        """
        self._began = False
        self._send(str(len(jobs)).encode())
        for parts in (job.parts() for job in jobs):
            for part in (str(len(parts)).encode(), *parts):
                self._send(part)
        self._receive(self._work_seconds)  # "got it"
        self._began = True
        return [self._reply() for _ in jobs]

    def _reply(self) -> Reply:
        header = self._receive(self._work_seconds)
        rest = range(Reply.count_of_parts(header) - 1)
        return Reply.from_parts([header, *(self._receive(self._work_seconds) for _ in rest)])

    def close(self) -> None:
        """Let the idle process end by itself."""
        self._engine.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._engine.close()

    def _send(self, message: bytes) -> None:
        try:
            self._engine.send_bytes(message)
        except OSError as exc:
            raise self._lost(slow=isinstance(exc, BlockingIOError)) from exc

    def _receive(self, seconds: float) -> bytes:
        try:
            if not self._engine.poll(seconds):
                raise self._lost(slow=True)
            return self._engine.recv_bytes()
        except (OSError, EOFError) as exc:
            raise self._lost(slow=isinstance(exc, BlockingIOError)) from exc

    def _lost(self, *, slow: bool) -> EngineLostError:
        if not slow:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        ended = self._process.poll()
        self.kill()
        if slow or ended is None:
            return EngineLostError(
                f"engine process {self.pid} gave no answer in time", slow=slow, began=self._began
            )
        how = f"signal {-ended}" if ended < 0 else f"status {ended}"
        return EngineLostError(f"engine process {self.pid} ended with {how}", began=self._began)


def _started(seconds: float) -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = socket.socketpair()
    # A stopped process must not block the front for ever in the middle of a message.
    limit = struct.pack("ll", int(seconds), round(seconds % 1 * 1e6))
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        ours.setsockopt(socket.SOL_SOCKET, option, limit)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.workers.process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is the front's to handle
        )
    return process, Connection(ours.detach())


def _environment() -> dict[str, str]:
    """What an engine needs to start; no address and no credential of anything."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ENVIRONMENT or name.startswith(ENVIRONMENT_STARTS)
    }
    here = str(Path(__file__).parents[1])
    return {**kept, "PYTHONPATH": here, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
