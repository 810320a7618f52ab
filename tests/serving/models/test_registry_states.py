"""The states of a registry, as the table in docs/serving.md lists them."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from starlette.testclient import TestClient

from serving.api.state import State
from serving.app import create_app
from serving.models.products import Product, Products
from serving.models.registry_health import Followed, RegistryHealth
from serving.settings import ServerSettings
from tests.serving.faults import ScriptedRegistry, scripted_server
from tests.serving.running import Running, running, until
from uad.bundle import MANIFEST
from uad.errors import RegistryError
from uad.hot_reload import AliasWatcher, BundleStore, ModelSlot, Served
from uad.hot_reload.pins import pin, pin_file
from uad.registry import ModelRegistry
from uad.registry.types import ModelVersion

Bundles = Callable[[int], Path]
CHAMPION = "models:/cookie@champion"


@pytest.fixture
def database(uad_home: Path, cookie: ModelRegistry) -> Path:
    """The registry's file, of a machine on which version 1 has served."""
    cookie.promote("cookie", "1")
    with running(models=[CHAMPION]) as server:
        assert about(server)["serving"] == "1"
    return uad_home / "mlflow" / "mlflow.db"


def damage(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def remove(file: Path) -> None:
    file.unlink()


def without_alias(file: Path) -> None:
    MlflowClient(f"sqlite:///{file}").delete_registered_model_alias("cookie", "champion")


def without_product(file: Path) -> None:
    MlflowClient(f"sqlite:///{file}").delete_registered_model("cookie")


@pytest.mark.parametrize(
    ("break_it", "state"),
    [
        (damage, "down"),
        (empty, "down"),
        (remove, "down"),
        (without_alias, "up"),
        (without_product, "up"),
    ],
)
def test_a_start_serves_the_saved_copy_and_says_how_the_registry_is(
    database: Path, image: str, break_it: Callable[[Path], None], state: str
) -> None:
    break_it(database)
    left = database.read_bytes() if database.exists() else None
    with running(models=[CHAMPION]) as server:
        assert server.judge(image)["result"]["modelVersion"] == "1"
        until(lambda: about(server)["registry"] == state)
        assert server.http.get("/readyz").status_code == 200
        assert about(server)["desired"] is None
    assert (database.read_bytes() if database.exists() else None) == left


def test_what_is_wrong_with_the_registry_is_logged_once_where_the_saved_copy_serves(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_alias(database)
    caplog.clear()
    with running(models=[CHAMPION]):
        until(lambda: "No version of 'cookie' is champion" in caplog.text)
    assert caplog.text.count("No version of 'cookie' is champion") == 1


def test_a_registry_that_was_restored_is_followed_by_a_server_that_runs(
    database: Path, image: str, tmp_path: Path
) -> None:
    backup = Path(shutil.copy(database, tmp_path / "backup.db"))
    with running(models=[CHAMPION]) as server:
        database.unlink()
        until(lambda: about(server)["registry"] == "down")
        assert server.judge(image)["result"]["modelVersion"] == "1"
        ModelRegistry(f"sqlite:///{backup}").promote("cookie", "2")
        backup.replace(database)
        until(lambda: about(server)["serving"] == "2")
        assert about(server)["registry"] == "up"


def test_a_database_that_is_replaced_while_serving_is_seen(database: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(database, tmp_path / "other.db"))
    ModelRegistry(f"sqlite:///{other}").promote("cookie", "3")
    with running(models=[CHAMPION]) as server:
        assert about(server)["serving"] == "1"
        other.replace(database)
        until(lambda: about(server)["serving"] == "3")


def test_a_product_that_was_deleted_and_registered_again_is_loaded(
    database: Path, random_bundle: Bundles, image: str
) -> None:
    with running(models=[CHAMPION]) as server:
        before = server.judge(image)["result"]
        without_product(database)
        registry = ModelRegistry()
        registry.register(random_bundle(3), "cookie")
        registry.promote("cookie", "1")
        until(lambda: server.judge(image)["result"]["score"] != before["score"])
        assert about(server)["serving"] == "1"


def test_without_a_model_it_can_wait_and_be_ready_later(cookie: ModelRegistry, image: str) -> None:
    with running(models=[CHAMPION], wait_for_model=True) as server:
        assert server.http.get("/readyz").status_code == 503
        assert server.judge(image)["errorCode"] == 503
        cookie.promote("cookie", "1")
        until(lambda: server.http.get("/readyz").status_code == 200)


def test_a_disk_that_refuses_notes_does_not_end_the_following(
    uad_home: Path, cookie: ModelRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    cookie.promote("cookie", "1")
    # In the place of the file that remembers what served: it can never be written.
    (BundleStore().folder("cookie") / "@champion" / "x").mkdir(parents=True)
    with running(models=[CHAMPION]) as server:
        assert about(server)["serving"] == "1"
        assert "could not be written to the disk" in caplog.text
        cookie.promote("cookie", "2")
        until(lambda: about(server)["serving"] == "2")
        assert about(server)["following"]


def test_a_pin_that_cannot_be_read_changes_nothing_and_is_named(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pin("cookie", "1")
    with running(models=[CHAMPION]) as server:
        until(lambda: about(server)["pinned"] == "1")
        pin_file("cookie").write_bytes(b"\xff\xfe two")
        until(lambda: "The pin could not be read" in caplog.text)
        assert str(pin_file("cookie")) in caplog.text
        assert server.http.get("/readyz").status_code == 200
        assert about(server)["pinned"] == "1"


def test_a_failed_version_is_tried_again_at_once_when_somebody_asks(
    random_bundle: Bundles, tmp_path: Path
) -> None:
    registry = ScriptedRegistry([random_bundle(1), random_bundle(2)])
    registry.promote()
    with scripted_server(registry, tmp_path / "store", workers=1) as server:
        version = registry.promote("disk full")
        until(lambda: about(server)["failed"] == [version])
        registry.mend(version)
        watcher = server.state.products.default.followed.watcher  # type: ignore[union-attr]
        watcher.wake()
        until(lambda: about(server)["serving"] == version)


def test_a_copy_that_is_damaged_while_it_serves_is_fetched_again_when_an_engine_dies(
    random_bundle: Bundles, tmp_path: Path, image: str
) -> None:
    registry = ScriptedRegistry([random_bundle(1)])
    registry.promote()
    with scripted_server(registry, tmp_path / "store", workers=1) as server:
        (graph,) = (tmp_path / "store").rglob("model.onnx")
        graph.write_bytes(b"damaged by the disk")
        before = server.pids()
        os.kill(before[0], signal.SIGKILL)
        assert server.judge(image)["errorCode"] == 0
        assert server.pids() != before
        assert graph.read_bytes() != b"damaged by the disk"


def test_a_version_whose_threshold_is_not_finite_does_not_serve(
    random_bundle: Bundles, tmp_path: Path, image: str
) -> None:
    broken = Path(shutil.copytree(random_bundle(2), tmp_path / "broken"))
    manifest = json.loads((broken / MANIFEST).read_text())
    for entry in manifest["calibration"].values():
        entry["threshold"] = float("nan")
    (broken / MANIFEST).write_text(json.dumps(manifest))
    registry = ScriptedRegistry([random_bundle(1), broken])
    registry.promote()  # version 1 is the second bundle
    version = registry.promote()
    with scripted_server(registry, tmp_path / "store", workers=1) as server:
        assert about(server)["serving"] == version
        broken_version = registry.promote()
        until(lambda: about(server)["failed"] == [broken_version])
        assert server.judge(image)["result"]["modelVersion"] == version


def about(server: Running) -> dict[str, Any]:
    return server.http.get("/readyz").json()["result"]["models"]["cookie"]


class LoadedPool:
    """What a product needs of its engines to be ready."""

    key, pids = "onnxruntime/fp32", (1,)


class SilentRegistry:
    """Can be asked, and has nothing."""

    def resolve(self, address: str) -> ModelVersion:
        raise RegistryError(f"nothing at {address}")

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        raise RegistryError(f"no {version} for {into}")

    def note_external(self, name: str, *, alias: str) -> object:
        raise RegistryError(f"no {name} {alias}")


def test_a_server_whose_last_poll_is_old_answers_and_says_that_it_sees_no_promotion() -> None:
    now = [0.0]
    registry = RegistryHealth(SilentRegistry())
    slot: ModelSlot[Any] = ModelSlot(Served(LoadedPool(), "1", "cookie"))
    watcher: AliasWatcher[Any] = AliasWatcher(
        *(CHAMPION, registry, BundleStore(), LoadedPool), slot=slot, clock=lambda: now[0]
    )
    settings = ServerSettings()
    product = Product("cookie", slot, Followed(watcher, registry, poll_seconds=5.0), "cookie")
    client = TestClient(create_app(settings, State(settings, Products([product]))))

    def said() -> tuple[int, str, bool]:
        answer = client.get("/readyz")
        known = answer.json()
        following = known["result"]["models"]["cookie"]["following"]
        return answer.status_code, known["errorMsg"], following

    silent = "Ready; promotions of 'cookie' are not seen: the last poll is old or has not ended"
    assert said() == (200, silent, False)
    watcher.poll()
    assert said() == (200, "Ready", True)
    now[0] = 171
    assert said() == (200, silent, False)
