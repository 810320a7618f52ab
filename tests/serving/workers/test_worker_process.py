"""What an engine process may see and do, and what its end does to the front."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from serving.settings import Limits, ServerSettings
from serving.workers.messages import EngineSpec, Job, Reply, engine_spec
from serving.workers.pool import WorkerPool
from serving.workers.worker import WorkerProcess
from tests.serving.running import PATIENCE_SECONDS, Running, until
from tests.serving.test_start import started
from uad.errors import BundleError, EngineLostError

Bundles = Callable[[int], Path]
QUIET = {"visualize": False, "labelMap": "rle"}


@pytest.fixture
def front(random_bundle: Bundles) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`uad serve` in a process of its own, and its address."""
    with started("--model", f"cookie={random_bundle(1)}") as (process, url):
        yield process, url


def engines_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def test_when_the_front_is_killed_its_engines_end(
    front: tuple["subprocess.Popen[str]", str], image: str
) -> None:
    process, url = front
    engines = engines_of(process)
    assert engines
    asked = {"image": image, **QUIET}
    assert httpx.post(f"{url}/image-anomaly-detection", json=asked, timeout=60).status_code == 200
    for engine in engines:
        engine.suspend()  # neither reads its socket nor runs a line of Python
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(is_there(engine) for engine in engines))


def is_there(engine: psutil.Process) -> bool:
    try:
        return engine.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_engine_that_is_started_again_never_answers_with_another_model_under_the_old_version(
    random_bundle: Bundles, tmp_path: Path
) -> None:
    folder = tmp_path / "cookie"
    shutil.copytree(random_bundle(1), folder)
    spec = engine_spec(folder, ServerSettings())
    WorkerProcess(spec).close()
    shutil.rmtree(folder)
    shutil.copytree(random_bundle(2), folder)
    with pytest.raises(BundleError, match=r"was changed since this server loaded it\. Restart"):
        WorkerProcess(spec)
    WorkerProcess(engine_spec(folder, ServerSettings())).close()


def test_the_front_hides_its_environment_from_its_engines(
    front: tuple["subprocess.Popen[str]", str],
) -> None:
    process, _ = front
    # The kernel gives the files of a process that hides to root.
    assert Path(f"/proc/{process.pid}/environ").stat().st_uid == 0
    code = f"open('/proc/{process.pid}/environ','rb').read()"
    if os.getuid() != 0:
        asked = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert b"PermissionError" in asked.stderr
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert "PPid" in status


def test_a_file_in_the_working_directory_does_not_take_the_place_of_a_library(
    random_bundle: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orjson.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    worker = WorkerProcess(engine_spec(random_bundle(1), ServerSettings()))
    folder = Path(f"/proc/{worker.pid}/cwd").resolve()
    assert folder != tmp_path
    worker.close()
    assert not folder.exists()


def test_a_bundle_named_by_a_relative_path_is_found(
    random_bundle: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = random_bundle(1)
    monkeypatch.chdir(bundle.parent)
    WorkerProcess(engine_spec(Path(bundle.name), ServerSettings())).close()


def test_a_model_that_needs_more_memory_than_allowed_is_refused(random_bundle: Bundles) -> None:
    limits = Limits(model_bytes=2**28, memory_bytes=2**26)
    spec = engine_spec(random_bundle(1), ServerSettings(limits=limits))
    worker = WorkerProcess(spec)
    soft, hard = psutil.Process(worker.pid).rlimit(psutil.RLIMIT_DATA)
    used = psutil.Process(worker.pid).memory_info().data
    assert soft == hard <= used + 2**26
    worker.close()


@pytest.mark.parametrize(
    "header",
    [
        b"no JSON",
        b"[]",
        b"{}",
        b'{"status": "fine", "kept": []}',
        b'{"status": 200, "verdicts": [{"score": null}], "kept": []}',
        orjson.dumps({"status": 200, "kept": [{}] * 5000}),
        b'{"status": 99999, "kept": []}',
    ],
    ids=["text", "a list", "nothing", "words", "no score", "too many images", "no status"],
)
def test_what_a_taken_over_engine_sends_is_no_reply(header: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        Reply.count_of_parts(header)
        Reply.from_parts([header, b""])


TAKEN_OVER = """
import sys
from multiprocessing.connection import Connection

front = Connection(int(sys.argv[1]))
front.recv_bytes()
front.send_bytes(b'{"engine": "onnxruntime/fp32"}')
for _ in range(4):  # the command, the number of parts, header and body
    front.recv_bytes()
for part in (b"+", b"\\xff not JSON", b"x"):
    front.send_bytes(part)
front.recv_bytes()
"""


def test_an_engine_that_answers_garbage_is_replaced_and_the_front_goes_on(
    random_bundle: Bundles, image: str, tmp_path: Path
) -> None:
    (tmp_path / "taken_over.py").write_text(TAKEN_OVER)
    programs = [[str(tmp_path / "taken_over.py")]]

    def start(spec: EngineSpec) -> WorkerProcess:
        return WorkerProcess(spec, programs.pop()) if programs else WorkerProcess(spec)

    pool = WorkerPool(engine_spec(random_bundle(1), ServerSettings()), 1, start=start)
    try:
        before = pool.pids
        body = orjson.dumps({"image": image, **QUIET})
        reply = pool.submit(Job("log-id", "1", body)).result(PATIENCE_SECONDS)
        assert reply.status == 200  # from the engine that took its place
        assert pool.pids != before
    finally:
        pool.close()
        pool.join(PATIENCE_SECONDS)


def test_an_engine_that_cannot_start_again_has_its_bundle_repaired(
    random_bundle: Bundles, tmp_path: Path, image: str
) -> None:
    copy = Path(shutil.copytree(random_bundle(1), tmp_path / "copy"))

    def repair() -> None:
        shutil.copy(random_bundle(1) / "model.onnx", copy / "model.onnx")

    pool = WorkerPool(engine_spec(copy, ServerSettings()), 1, repair=repair)
    try:
        (copy / "model.onnx").write_bytes(b"damaged by the disk")
        before = pool.pids
        os.kill(before[0], signal.SIGKILL)
        body = orjson.dumps({"image": image, **QUIET})
        assert pool.submit(Job("log-id", "1", body)).result(PATIENCE_SECONDS).status == 200
        assert pool.pids != before
    finally:
        pool.close()
        pool.join(PATIENCE_SECONDS)


def test_what_an_engine_logs_comes_in_the_front_s_form(
    serve: Callable[..., Running], random_bundle: Bundles, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        serve(models=[str(random_bundle(1))])
        until(lambda: any("engine" in each.name for each in caplog.records))
    (record,) = [each for each in caplog.records if each.name == "serving.engine"][:1]
    assert record.levelname == "INFO"
    assert "{" not in record.getMessage()


def test_a_lost_engine_is_an_error_of_its_own(random_bundle: Bundles) -> None:
    worker = WorkerProcess(engine_spec(random_bundle(1), ServerSettings()))
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(EngineLostError):
        worker.answer([Job("log-id", "1", b"{}")])
