"""Ctrl-C and SIGTERM while a command runs a flow itself."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flows import environment
from flows.engine import STOP_SECONDS
from flows.environment import ended_in_order
from flows.server import LOOPBACK, START_SECONDS, answers, free_port
from tests.flows.conftest import QUICK, read_until
from uad.errors import DataError
from uad.operations.training import stopped_sentence
from uad.registry import ModelRegistry
from uad.storage.paths import prefect_dir

STOPPED = "Stopped. The champion has not changed."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_says_what_state_things_are_in(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped, ended_in_order(STOPPED):
        os.kill(os.getpid(), number)
    assert stopped.value.code == 128 + number
    assert capsys.readouterr().err == f"{STOPPED}\n"
    assert signal.getsignal(number) == before


def test_what_fails_while_a_command_stops_is_not_its_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped, ended_in_order(STOPPED):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            raise ConnectionError("the engine is gone")
    assert stopped.value.code == 128 + signal.SIGTERM
    assert "the engine is gone" not in capsys.readouterr().err


def test_an_error_of_the_run_stays_its_error() -> None:
    with pytest.raises(DataError, match="no images"), ended_in_order(STOPPED):
        raise DataError("no images")


@pytest.mark.parametrize("settings", [[], ["--quick"]])
def test_a_retraining_stopped_while_the_engine_starts_says_so_and_how_it_continues(
    settings: list[str], normals: Path
) -> None:
    command = ["retrain", "--data", str(normals), "--name", "parts", "--teacher", "random"]
    process = subprocess.Popen(
        [sys.executable, "-m", "uad", *command, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    read_until(process, "engine starts first")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert said.splitlines() == [stopped_sentence(has_student=not settings)]
    assert ("epoch" in said) == (not settings)  # a quick training has none
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.slow  # Prefect's engine starts for it
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_retraining_stopped_with_its_process_group_ends_soon_and_in_order(
    number: signal.Signals, normals: Path, registry: ModelRegistry
) -> None:
    settings = [word for setting in (*QUICK, "training.epochs=500") for word in ("--set", setting)]
    command = ["retrain", "--data", str(normals), "--name", "parts", "--teacher", "random"]
    process = subprocess.Popen(
        [sys.executable, "-m", "uad", *command, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    read_until(process, "dataset parts@")
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=60)
    assert said.splitlines() == [stopped_sentence(has_student=True)]
    assert process.returncode == 128 + number
    with closing(sqlite3.connect(prefect_dir() / "prefect.db")) as database:
        assert database.execute("SELECT state_name FROM flow_run").fetchall() == [("Crashed",)]
    assert registry.products() == []


@pytest.mark.slow  # Prefect's engine starts for it
def test_the_engine_ends_by_itself_as_soon_as_it_is_asked(uad_home: Path) -> None:
    environment.prepare()
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "flows.engine", str(port), str(os.getpid())])
    assert answers(process, f"http://{LOOPBACK}:{port}/api/health", START_SECONDS)
    process.send_signal(signal.SIGINT)
    assert process.wait(STOP_SECONDS) == 0  # later it would be killed
