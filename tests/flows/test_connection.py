import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from flows.server import own_server, reachable, why_not_started
from tests.flows.conftest import QUICK
from uad.errors import FlowError

SECRET = "Geheim7"


def test_the_address_of_the_page_is_told_from_that_of_the_api(prefect_api: str) -> None:
    reachable(prefect_api)
    page = prefect_api.removesuffix("/api")
    with pytest.raises(FlowError, match=f"set PREFECT_API_URL={page}/api"):
        reachable(page)


def test_the_page_of_a_server_on_another_port_shows_that_server(prefect_api: str) -> None:
    page = prefect_api.removesuffix("/api")
    assert (
        httpx.get(f"{page}/ui-settings").json()["api_url"].endswith(prefect_api.partition("://")[2])
    )


def test_a_port_that_is_taken_is_said(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UAD_HOME", str(tmp_path / "other"))
    port = int(prefect_api.removesuffix("/api").rpartition(":")[2])
    with pytest.raises(FlowError, match=f"port {port} is in use"), own_server(port):
        pass


def test_a_damaged_database_of_prefect_is_named_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UAD_HOME", str(tmp_path))
    log = tmp_path / "engine.log"
    assert why_not_started("engine", log).endswith(f"Its log is {log}")
    (tmp_path / "prefect/prefect.db").write_bytes(b"junk" * 1000)
    assert re.search(
        r"prefect.db is damaged .* move it away: .* no images and no models",
        why_not_started("engine", log),
    )


@pytest.mark.slow  # two and a half minutes: Prefect tries the registry again three times
def test_a_failing_run_leaves_no_password_anywhere(
    prefect_api: str, normals: Path, uad_home: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter

    settings = [word for setting in QUICK for word in ("--set", setting)]
    command = ["retrain", "--data", str(normals), "--name", "parts", "--teacher", "random"]
    ran = subprocess.run(
        [sys.executable, "-m", "uad", *command, *settings],
        env={
            **os.environ,
            "PREFECT_API_URL": prefect_api,
            "MLFLOW_TRACKING_URI": f"http://uad:{SECRET}@127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:10",
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 1
    assert "cannot reach the registry at http://***@127.0.0.1:9" in ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
    with get_client(sync_client=True) as client:
        newest = client.read_flow_runs(limit=1, sort="START_TIME_DESC")[0]
        assert newest.state is not None
        assert newest.state.message is not None
        assert SECRET not in newest.state.message
        logs = client.read_logs(LogFilter())
        assert not [line for line in logs if SECRET in line.message]
    kept = [file for file in uad_home.rglob("*") if file.is_file()]
    assert not [file for file in kept if SECRET.encode() in file.read_bytes()]
