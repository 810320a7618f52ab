import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from uad.cli import main

Bundles = Callable[[int], Path]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`uad serve` in a process of its own, and its address."""
    command = [sys.executable, "-c", "from uad.cli import main; main()", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--workers", "1", *arguments], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"on (http://\S+)", line):
                yield process, found[1]
                break
        else:
            pytest.fail("it did not start")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_uad_serve_answers_and_ends_with_status_zero_on_sigterm(
    random_bundle: Bundles, image: str
) -> None:
    arguments = ["--model", f"cookie={random_bundle(1)}", "--set", "notice_seconds=60"]
    with started(*arguments) as (process, url):
        asked = {"image": image, "visualize": False}
        with httpx.Client(base_url=url) as http:
            assert http.post("/image-anomaly-detection", json=asked).status_code == 200
            assert set(http.get("/readyz").json()["result"]["models"]) == {"cookie"}
            process.send_signal(signal.SIGTERM)
            # During the notice: not ready, but still answering.
            while (ready := http.get("/readyz")).status_code == 200:
                pass
            assert "stopping" in ready.json()["errorMsg"]
            assert http.post("/image-anomaly-detection", json=asked).status_code == 200
        process.send_signal(signal.SIGTERM)  # again: no need to wait for the end of the notice
        assert process.wait(20) == 0


def test_a_port_in_use_is_one_line_and_found_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused(capsys, "--model", "models:/cookie@champion", "--port", str(port))
    assert f"port {port} on 127.0.0.1 is in use" in error
    assert "--port" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "no-such-folder"], "There are no products yet"),
        ([], "give --model"),
        (["--model", "x", "--set", "limits.pixel=1"], "unknown key 'limits.pixel'"),
        (["--model", "x", "--workers", "0"], "'workers'"),
        (["--model", "x", "--host", "192.0.2.1"], "check --host"),
    ],
)
def test_a_wrong_start_is_one_line_that_names_the_cure(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in refused(capsys, *arguments, "--port", "0")


def test_serving_loads_no_training_library(random_bundle: Bundles) -> None:
    code = (
        "import sys; import serving.run, serving.workers.process\n"
        "import uad.hot_reload, uad.visualization;"
        "from pathlib import Path; from uad.inference.detector import load_detector;"
        f"load_detector(Path({str(random_bundle(1))!r}));"
        "print(sorted({'paddle', 'prefect', 'sklearn', 'torch', 'mlflow'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_an_engine_process_knows_no_credential(
    random_bundle: Bundles, serve: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (pid,) = serve(models=[str(random_bundle(1))]).pids()  # type: ignore[attr-defined]
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"secret" not in environment
    assert os.fsencode(os.environ["PATH"]) in environment


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *arguments])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 1
    assert len(error.splitlines()) == 1
    return error


def test_clients_that_keep_their_connections_lose_no_request_when_it_stops(
    random_bundle: Bundles, image: str
) -> None:
    arguments = ["--model", f"cookie={random_bundle(1)}", "--set", "notice_seconds=3"]
    asked = {"image": image, "visualize": False, "labelMap": "rle"}
    failed: list[object] = []
    answered = threading.Semaphore(0)

    def client(url: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            while True:
                try:
                    answer = http.post("/image-anomaly-detection", json=asked)
                except httpx.ConnectError:
                    return  # it listens no more: a balancer would go elsewhere
                except httpx.HTTPError as exc:
                    failed.append(exc)
                    return
                if answer.status_code != 200:
                    failed.append(answer.text)
                answered.release()
                if answer.headers.get("connection") == "close":
                    return

    with started(*arguments) as (process, url):
        threads = [threading.Thread(target=client, args=(url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(8):
            answered.acquire()
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait(60) == 0
    assert failed == []


def test_log_lines_of_engines_are_json_too(random_bundle: Bundles) -> None:
    command = [sys.executable, "-c", "from uad.cli import main; main()", "serve", "--port", "0"]
    arguments = ["--model", f"cookie={random_bundle(1)}", "--workers", "1"]
    settings = ["--set", "log_format=json", "--set", "notice_seconds=0"]
    with subprocess.Popen(
        [*command, *arguments, *settings], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if "serving on" in line:
                process.send_signal(signal.SIGTERM)
    assert any(line["logger"] == "serving.engine" for line in lines)


def test_an_ipv6_address_is_told_in_the_form_that_can_be_opened(random_bundle: Bundles) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with started("--model", f"cookie={random_bundle(1)}", "--host", "::1") as (_, url):
        assert url.startswith("http://[::1]:")
        assert httpx.get(f"{url}/livez").status_code == 200
