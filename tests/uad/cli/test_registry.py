import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient

from uad.cli.registry import training_page, ui_command, ui_environment
from uad.registry import ModelRegistry

Bundles = Callable[[int], Path]
Uad = Callable[..., Any]


def test_from_a_bundle_to_a_champion_and_back(
    uad: Uad, registry: ModelRegistry, random_bundle: Bundles
) -> None:
    first = uad("register", random_bundle(1), "--name", "cookie")
    assert (first.status, first.out) == (0, "cookie version 1 (models:/cookie/1)\n")
    assert "uad promote cookie 1" in first.err
    uad("register", random_bundle(2), "--name", "cookie")
    assert "version 1 is now champion (before: none" in uad("promote", "cookie", "1").out
    moved = uad("promote", "cookie", "2", "--reason", "fewer false alarms", "--as", "mia")
    assert moved.out == "cookie: version 2 is now champion (before: 1; moved by mia)\n"
    assert "already" in uad("promote", "cookie", "2").out
    assert "version 1 is now champion (before: 2" in uad("rollback", "cookie").out
    nothing = uad("rollback", "cookie")
    assert nothing.status == 1
    assert nothing.err.startswith("error: 'cookie' has no earlier champion")


def test_a_version_that_is_no_bundle_never_becomes_champion(
    uad: Uad, cookie: ModelRegistry, tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/MLmodel").write_text("flavors: {}")
    MlflowClient(cookie.uri).create_model_version("cookie", str(tmp_path / "foreign"))
    refused = uad("promote", "cookie", "4")
    assert refused.status == 1
    assert "Version 4 of 'cookie' has no bundle.json" in refused.err
    assert cookie.champion("cookie") is None


def test_a_version_whose_files_are_gone_is_named_with_the_cure(
    uad: Uad, registry: ModelRegistry, random_bundle: Bundles
) -> None:
    source = registry.register(random_bundle(1), "cookie").source.removeprefix("file://")
    Path(source).rename(Path(source).with_name("moved"))
    gone = uad("predict", "--pipeline", "models:/cookie/1", "--input", "x.png")
    assert gone.status == 1
    assert "The files of version 1 of 'cookie' cannot be fetched from" in gone.err
    assert "uad rollback cookie" in gone.err


def test_models_shows_versions_aliases_and_the_history_of_a_product(
    uad: Uad, registry: ModelRegistry, random_bundle: Bundles
) -> None:
    figures = {"image_auroc": 0.97, "recall": 0.91, "false_alarm_rate": 0.04, "threshold": 7.25}
    registry.register(random_bundle(1), "cookie", metrics=figures)
    registry.promote("cookie", "1", reason="the first", actor="mia")
    every = uad("models").out
    assert "champion" in every
    for head, value in (("recall", 0.91), ("alarms", 0.04), ("threshold", 7.25)):
        assert head in every
        assert str(value) in every
    one = uad("models", "cookie").out
    assert "the first" in one
    assert "mia" in one


def test_models_of_an_empty_registry_says_how_to_get_one(uad: Uad, registry: ModelRegistry) -> None:
    empty = uad("models")
    assert empty.status == 0
    assert "uad retrain" in empty.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("promote", "cookie", "1"),
        ("rollback", "cookie"),
        ("models", "cookie"),
        ("predict", "--pipeline", "models:/cookie@champion", "--input", "x.png"),
    ],
)
def test_an_unknown_product_is_one_line_and_status_1(
    uad: Uad, registry: ModelRegistry, arguments: tuple[str, ...]
) -> None:
    ran = uad(*arguments)
    assert ran.status == 1
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("error: There is no product 'cookie'")
    assert "uad retrain --data FOLDER --name cookie" in ran.err


def test_a_server_that_is_down_is_one_line_with_its_address(
    uad: Uad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    ran = uad("models")
    assert ran.status == 1
    assert ran.err.count("\n") == 1
    assert "http://127.0.0.1:9" in ran.err


def test_ui_names_a_server_that_runs_already(uad: Uad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.plant.example:5000")
    assert "Open http://mlflow.plant.example:5000" in uad("ui").out


def test_ui_names_the_pages_of_trainings_where_mlflow_would_open_on_genai() -> None:
    page = training_page("http://127.0.0.1:5000/", "3")
    assert page == "http://127.0.0.1:5000/#/experiments/3/runs?workflowType=machine_learning"


def test_each_product_has_a_page_of_its_runs(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    registry.register(random_bundle(1), "cookie")
    assert list(registry.experiments()) == ["cookie"]


def test_ui_refuses_a_port_in_use(uad: Uad) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = uad("ui", "--port", taken.getsockname()[1])
    assert ran.status == 1
    assert "Choose another with --port" in ran.err


def test_ui_starts_mlflow_with_one_worker_and_no_job_runner() -> None:
    command = ui_command("127.0.0.1", 5001)
    assert command[command.index("--workers") + 1] == "1"
    given = ui_environment("sqlite:///x.db", {"DO_NOT_TRACK": "0"})
    assert given["MLFLOW_BACKEND_STORE_URI"] == "sqlite:///x.db"
    assert given["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert given["DO_NOT_TRACK"] == "0"


def test_the_password_of_the_database_is_not_on_the_command_line() -> None:
    uri = "postgresql://uad:Geheim7@db/mlflow"
    assert "Geheim7" not in " ".join(ui_command("127.0.0.1", 5001))
    assert ui_environment(uri, {})["MLFLOW_BACKEND_STORE_URI"] == uri


@pytest.mark.slow
def test_ui_answers_with_the_runs_of_this_project(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    registry.register(random_bundle(1), "cookie")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", "from uad.cli import main; main()", "ui", "--port", str(port)],
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 90
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/get"
        while True:
            try:
                answer = httpx.get(url, params={"name": "cookie"})
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert answer.json()["registered_model"]["name"] == "cookie"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
