"""The front's side of one engine process: start it, send requests, notice its end."""

import contextlib
import logging
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from serving.workers.messages import EngineSpec, Job, Reply
from uad.errors import BundleError, EngineLostError

logger = logging.getLogger("serving.engine")

ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
ENVIRONMENT_STARTS = ("CUDA_", "NVIDIA_", "ORT_", "OPENVINO_")
PROGRAM = ("-P", "-m", "serving.workers.process")
"""-P: a file in the working directory must not take the place of a library."""
LOOK_SECONDS = 0.5
"""How often a working engine is checked."""
HEADER_BYTES = 2**22
"""Longest header of a reply; a longer one is not a reply."""
LINE_BYTES = 2**16
_starter = ThreadPoolExecutor(1, "engine-starter")
"""Starts all engine processes: they end with the thread that started them (PR_SET_PDEATHSIG),
so that must be one that lives as long as the front."""


class WorkerProcess:
    """One engine process. Not safe to share between threads."""

    def __init__(self, spec: EngineSpec, program: Sequence[str] = PROGRAM) -> None:
        """Start the process; wait until it has loaded the version and checked its golden scores.

        Args:
            spec: what it loads.
            program: what Python runs; the socket's number is its last argument.

        Raises:
            BundleError: it refused the version, died, or took too long.
        """
        self._limits = spec.limits
        self._began = False
        self._folder = tempfile.TemporaryDirectory(prefix="uad-engine-", ignore_cleanup_errors=True)
        self._process, self._engine = _starter.submit(
            _started, program, spec.limits.work_seconds, self._folder.name
        ).result()
        threading.Thread(target=_pass_on_lines, args=(self._process,), daemon=True).start()
        try:
            self._send(spec.model_dump_json().encode())
            ready = orjson.loads(self._receive(spec.limits.start_seconds, HEADER_BYTES))
            refused, key = ready.get("error"), str(ready.get("engine"))
        except EngineLostError as exc:
            raise BundleError(f"{spec.bundle} cannot be loaded: {exc}") from exc
        except (ValueError, AttributeError) as exc:
            self.kill()
            raise BundleError(f"{spec.bundle} cannot be loaded: its engine sent no answer") from exc
        if refused is not None:
            self.kill()
            raise BundleError(str(refused))
        self.key = key

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process is running and not stopped."""
        return self._process.poll() is None and not _is_stopped(self.pid)

    def answer(self, jobs: Sequence[Job]) -> list[Reply]:
        """Have requests answered, together; one of many images is opened for `answer_next`.

        Raises:
            EngineLostError: the process ended or was too slow; it is gone, start another one.
        """
        self._began = False
        self._command({"jobs": len(jobs)})
        for parts in (job.parts() for job in jobs):
            for part in (str(len(parts)).encode(), *parts):
                self._send(part)
        self._receive(self._limits.work_seconds, 1)  # "got it"
        self._began = True
        return [self._reply() for _ in jobs]

    def answer_next(self, *, large: bool) -> Reply:
        """The next images of the batch that `answer` opened; `large`: also if they are large.

        Raises:
            EngineLostError: as above.
        """
        self._began = True
        self._command({"next": True, "large": large})
        return self._reply()

    def drop(self) -> None:
        """Let the engine forget the open batch."""
        self._command({"drop": True})

    def close(self) -> None:
        """Let the idle process end by itself."""
        self._engine.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._folder.cleanup()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._engine.close()
        self._folder.cleanup()

    def _command(self, values: dict[str, object]) -> None:
        self._send(orjson.dumps(values))

    def _reply(self) -> Reply:
        header = self._receive(self._limits.work_seconds, HEADER_BYTES)
        most = max(self._limits.answer_bytes, self._limits.body_bytes)
        try:
            rest = range(Reply.count_of_parts(header) - 1)
            parts = [self._receive(self._limits.work_seconds, most) for _ in rest]
            return Reply.from_parts([header, *parts])
        except (ValueError, TypeError) as exc:
            self.kill()
            raise EngineLostError(
                f"engine process {self.pid} sent something that is not a reply", began=True
            ) from exc

    def _send(self, message: bytes | bytearray) -> None:
        try:
            self._engine.send_bytes(message)
        except OSError as exc:
            raise self._lost(slow=isinstance(exc, BlockingIOError)) from exc

    def _receive(self, seconds: float, most_bytes: int) -> bytes:
        end = time.monotonic() + seconds
        try:
            while not self._engine.poll(min(LOOK_SECONDS, max(0.0, end - time.monotonic()))):
                if _is_stopped(self.pid):
                    self._began = False  # not this image's fault: another engine will answer it
                    raise self._lost(slow=True)
                if time.monotonic() >= end:
                    raise self._lost(slow=True)
            return self._engine.recv_bytes(most_bytes)
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


def _started(
    program: Sequence[str], seconds: float, folder: str
) -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = socket.socketpair()
    # A stopped process must not block the front for ever in the middle of a message.
    limit = struct.pack("ll", int(seconds), round(seconds % 1 * 1e6))
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        ours.setsockopt(socket.SOL_SOCKET, option, limit)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, *program, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is the front's to handle
        )
    return process, Connection(ours.detach())


def _environment() -> dict[str, str]:
    """The environment of an engine process: no addresses and no credentials."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ENVIRONMENT or name.startswith(ENVIRONMENT_STARTS)
    }
    here = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": here, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def _is_stopped(pid: int) -> bool:
    """Whether a process was stopped (SIGSTOP, a debugger); False where that cannot be known."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return after_name.split()[0] in ("T", "t")


def _pass_on_lines(process: "subprocess.Popen[bytes]") -> None:
    """Log what the engine logs, and what a library in it writes to its standard error."""
    if process.stderr is None:
        return
    with process.stderr as lines:
        while line := lines.readline(LINE_BYTES):
            level, text = _read_line(line)
            logger.log(level, "engine %d: %s", process.pid, text)


def _read_line(line: bytes) -> tuple[int, str]:
    """Level and text of a line; one that is not our own JSON is a warning."""
    try:
        values = orjson.loads(line)
        level = logging.getLevelNamesMapping()[values["level"].upper()]
        text = "\n".join(str(values[key]) for key in ("message", "error") if key in values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return logging.WARNING, line.decode("utf-8", "replace").rstrip()
    return level, text
