"""Housekeeping of what lies behind a real `mlflow server`: its database, files through it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.servers import MlflowServer, mlflow_server
from tests.uad.gc.test_gc import stock
from uad.cli import main
from uad.registry import ModelRegistry, Remover, RunTracker
from uad.registry.types import MODEL_ID

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path / "server") as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
        yield made


def gc(*options: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["gc", "--keep", "1", "--keep-runs", "1", *options])
    assert not stopped.value.code


def files(server: MlflowServer) -> set[Path]:
    """All artifacts on the server's disk."""
    return {path for path in (server.folder / "artifacts").rglob("*") if path.is_file()}


def test_old_versions_and_runs_go_from_the_server_and_those_with_an_alias_stay(
    server: MlflowServer,
    random_bundle: Callable[[int], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = ModelRegistry()
    empty = RunTracker().start_run("cookie")  # a training that failed: it has no files
    RunTracker().finish_run(empty, "FAILED")
    stock(registry, random_bundle)
    MlflowClient(server.uri).set_registered_model_alias("cookie", "golden-line", "5")
    before, old = files(server), registry.version("cookie", "1")

    gc()
    assert "cookie 1" in capsys.readouterr().out
    assert files(server) == before
    assert len(registry.versions("cookie")) == 5

    gc("--yes")
    assert {each.version: each.aliases for each in registry.versions("cookie")} == {
        "5": ("golden-line",), "4": ("champion",), "3": (), "2": ("challenger",),
    }  # fmt: skip
    assert {run.id for run in Remover().tracked_runs()} == {
        version.run_id for version in registry.versions("cookie")
    }
    removed = before - files(server)
    assert removed
    own = {str(old.run_id), old.tags[MODEL_ID]}  # its run's files, and its model's
    assert all(own & set(path.parts) for path in removed)
    assert not any(own & set(path.parts) for path in files(server))
    for version in registry.versions("cookie"):
        assert registry.fetch(version, tmp_path / version.version).is_dir()

    gc("--yes")  # nothing is left to do, and nothing fails
    assert len(registry.versions("cookie")) == 4
    assert registry.rollback("cookie").to_version == "3"
