"""Against a real `mlflow server` that keeps the artifacts itself."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import MlflowServer, mlflow_server
from uad.bundle import read_bundle
from uad.errors import RegistryUnreachableError
from uad.hot_reload import AliasWatcher, BundleStore
from uad.inference.detector import load_detector
from uad.models.parts import EpochMetrics
from uad.registry import ModelRegistry, RunTracker

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path / "server") as made:
        yield made


def test_the_whole_life_of_a_product_on_a_server(
    server: MlflowServer,
    random_bundle: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    registry = ModelRegistry()
    run = RunTracker().start_run("cookie", params={"a": {"b": 1}})
    RunTracker().log_epoch(run, EpochMetrics(1, {"train_loss": 0.5}))
    first = registry.register(random_bundle(1), "cookie", run_id=run)
    second = registry.register(random_bundle(2), "cookie")
    assert (first.version, second.version) == ("1", "2")
    assert read_bundle(registry.fetch(first, tmp_path / "into"))
    assert (server.folder / "artifacts").is_dir()

    registry.promote("cookie", "1")
    watcher = AliasWatcher(
        "models:/cookie@champion", registry, BundleStore(tmp_path / "store"), load_detector
    )
    assert watcher.poll()
    registry.promote("cookie", "2")
    assert watcher.poll()
    assert watcher.status().serving == "2"
    assert registry.rollback("cookie").to_version == "1"
    assert [move.to_version for move in registry.history("cookie")] == ["1", "2", "1"]

    server.stop()
    begin = time.monotonic()
    assert not watcher.poll()
    with pytest.raises(RegistryUnreachableError, match=server.uri):
        ModelRegistry().products()
    assert time.monotonic() - begin < 15
    assert watcher.status().serving == "2"
    server.start()
    assert watcher.poll()
    assert watcher.status().serving == "1"
