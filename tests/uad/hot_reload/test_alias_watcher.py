import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from uad.errors import RegistryUnreachableError
from uad.hot_reload import AliasWatcher, BundleStore, Event, open_bundle
from uad.inference.detector import Detector, load_detector
from uad.registry import ModelRegistry
from uad.registry.types import ModelVersion

Bundles = Callable[[int], Path]
CHAMPION = "models:/cookie@champion"


class Switch:
    """A registry whose line can be cut."""

    def __init__(self, registry: ModelRegistry) -> None:
        self.registry = registry
        self.down = False

    def resolve(self, address: str) -> ModelVersion:
        if self.down:
            raise RegistryUnreachableError("cannot reach the registry")
        return self.registry.resolve(address)

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        return self.registry.fetch(version, into)


class World:
    """A watcher of cookie's champion with everything a test wants to turn."""

    def __init__(self, registry: ModelRegistry, root: Path) -> None:
        self.registry = registry
        self.switch = Switch(registry)
        self.store = BundleStore(root)
        self.now = 0.0
        self.events: list[Event] = []

    def watcher(self, load: Callable[[Path], Detector] = load_detector) -> AliasWatcher[Detector]:
        return AliasWatcher(
            CHAMPION,
            self.switch,
            self.store,
            load,
            on_event=self.events.append,
            clock=lambda: self.now,
        )

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture
def world(cookie: ModelRegistry, tmp_path: Path) -> World:
    return World(cookie, tmp_path / "store")


def test_a_promotion_is_followed(world: World) -> None:
    watcher = world.watcher()
    world.registry.promote("cookie", "1")
    assert watcher.poll()
    assert not watcher.poll()
    world.registry.promote("cookie", "2")
    assert watcher.poll()
    status = watcher.status()
    assert (status.desired, status.serving, status.failed) == ("2", "2", ())
    assert world.kinds() == ["swapped", "swapped"]
    assert [event.message for event in world.events] == [
        "version 1 now serves",
        "version 2 now serves instead of version 1",
    ]


def test_without_a_champion_the_status_says_how_to_get_one(world: World) -> None:
    watcher = world.watcher()
    assert not watcher.poll()
    status = watcher.status()
    assert status.serving is None
    assert status.last_error is not None
    assert "uad promote cookie" in status.last_error


def test_a_version_that_fails_leaves_the_old_one_and_is_tried_again_later(world: World) -> None:
    broken = {"2"}

    def load(path: Path) -> Detector:
        if path.name.partition("-")[0] in broken:
            raise MemoryError("no room for it")
        return load_detector(path)

    watcher = world.watcher(load)
    world.registry.promote("cookie", "1")
    watcher.poll()
    world.registry.promote("cookie", "2")
    assert not watcher.poll()
    assert not watcher.poll()  # in quarantine: not even tried
    status = watcher.status()
    assert (status.desired, status.serving) == ("2", "1")
    assert [(f.version, f.attempts) for f in status.failed] == [("2", 1)]
    assert status.last_error == "no room for it"
    world.now = 31
    watcher.poll()
    assert [f.attempts for f in watcher.status().failed] == [2]
    broken.clear()
    world.now = 62
    assert not watcher.poll()  # the second wait is twice as long
    world.now = 92
    assert watcher.poll()
    assert (watcher.status().serving, watcher.status().failed) == ("2", ())
    assert world.kinds() == ["swapped", "failed", "failed", "swapped"]


def test_a_version_altered_in_the_artifact_store_does_not_serve(
    world: World, random_bundle: Bundles
) -> None:
    watcher = world.watcher()
    world.registry.promote("cookie", "1")
    watcher.poll()
    source = world.registry.register(random_bundle(2), "cookie").source
    (model,) = Path(source.removeprefix("file://")).rglob("model.onnx")
    model.write_bytes(b"altered")
    world.registry.promote("cookie", "4")
    assert not watcher.poll()
    assert watcher.status().serving == "1"
    assert "model.onnx" in watcher.status().failed[0].error


def test_a_version_that_scores_otherwise_than_its_golden_scores_does_not_serve(
    world: World, random_bundle: Bundles
) -> None:
    def load(path: Path) -> Detector:
        detector = load_detector(path)
        if path.name.startswith("2-"):
            detector.scorer = load_detector(random_bundle(1)).scorer
        return detector

    watcher = world.watcher(load)
    world.registry.promote("cookie", "1")
    watcher.poll()
    world.registry.promote("cookie", "2")
    assert not watcher.poll()
    assert watcher.status().serving == "1"
    assert "golden" in watcher.status().failed[0].error


def test_when_the_registry_is_down_the_old_version_goes_on(world: World) -> None:
    watcher = world.watcher()
    world.registry.promote("cookie", "1")
    watcher.poll()
    world.switch.down = True
    watcher.poll()
    watcher.poll()
    assert watcher.status().serving == "1"
    assert watcher.status().last_error == "cannot reach the registry"
    world.switch.down = False
    watcher.poll()
    assert watcher.status().last_error is None
    assert world.kinds() == ["swapped", "unreachable", "recovered"]


def test_a_start_while_the_registry_is_down_serves_the_last_known_good(world: World) -> None:
    world.registry.promote("cookie", "1")
    world.watcher().poll()
    world.switch.down = True
    again = world.watcher()
    assert again.poll()
    assert again.status().serving == "1"
    assert world.kinds()[-1] == "offline"
    world.switch.down = False
    world.registry.promote("cookie", "2")
    assert again.poll()
    assert again.status().serving == "2"


def test_a_start_while_the_champion_cannot_be_loaded_serves_the_last_known_good(
    world: World, random_bundle: Bundles
) -> None:
    world.registry.promote("cookie", "1")
    world.watcher().poll()
    source = world.registry.register(random_bundle(2), "cookie").source
    (model,) = Path(source.removeprefix("file://")).rglob("model.onnx")
    whole = model.read_bytes()
    model.write_bytes(b"altered")
    world.registry.promote("cookie", "4")
    again = world.watcher()
    assert again.poll()
    status = again.status()
    assert (status.desired, status.serving) == ("4", "1")
    assert status.last_error is not None
    assert "Version 4 of 'cookie' is damaged in the artifact store: model.onnx" in status.last_error
    assert world.kinds()[-3:] == ["failed", "swapped", "offline"]
    assert not again.poll()
    assert again.status().serving == "1"
    model.write_bytes(whole)
    world.now = 31
    assert again.poll()
    assert (again.status().serving, again.status().last_error) == ("4", None)


def test_an_altered_local_copy_does_not_serve_either(world: World) -> None:
    world.registry.promote("cookie", "1")
    world.watcher().poll()
    copy = world.store.recall("cookie", "champion")
    assert copy is not None
    (copy.path / "model.onnx").write_bytes(b"altered")
    world.switch.down = True
    watcher = world.watcher()
    assert not watcher.poll()
    assert watcher.status().serving is None


def test_requests_go_on_while_the_thread_swaps(world: World) -> None:
    world.registry.promote("cookie", "1")
    swapped = threading.Event()
    watcher: AliasWatcher[Detector] = AliasWatcher(
        CHAMPION,
        world.registry,
        world.store,
        load_detector,
        interval_seconds=0.05,
        on_event=lambda event: swapped.set() if event.version == "2" else None,
    )
    watcher.start()
    image = watcher.slot.current.detector.bundle.golden()[0]  # type: ignore[union-attr]
    versions: list[str] = []
    while not swapped.is_set() or versions[-1] != "2":
        with watcher.slot.use() as served:
            assert len(served.detector.detect([image])) == 1
            versions.append(served.version)
        if len(versions) == 1:
            world.registry.promote("cookie", "2")
    watcher.stop()
    assert versions == sorted(versions)
    assert set(versions) == {"1", "2"}


def test_a_move_made_elsewhere_is_followed_and_noted(world: World) -> None:
    watcher = AliasWatcher(
        CHAMPION,
        world.registry,
        world.store,
        load_detector,
        note_external=world.registry.note_external,
    )
    world.registry.promote("cookie", "1")
    watcher.poll()
    for version in ("2", "1"):
        MlflowClient(world.registry.uri).set_registered_model_alias("cookie", "champion", version)
        assert watcher.poll()
    kinds = [(move.kind, move.to_version) for move in world.registry.history("cookie")]
    assert kinds == [("promote", "1"), ("external", "2"), ("external", "1")]


def test_a_listener_that_fails_does_not_stop_the_swap(world: World) -> None:
    def listen(event: Event) -> None:
        raise RuntimeError("no")

    world.registry.promote("cookie", "1")
    watcher = AliasWatcher(CHAMPION, world.registry, world.store, load_detector, on_event=listen)
    assert watcher.poll()


def test_an_address_opens_as_a_folder(world: World, random_bundle: Bundles, tmp_path: Path) -> None:
    world.registry.promote("cookie", "2")
    champion = open_bundle(CHAMPION)
    assert champion == open_bundle("models:/cookie/2")
    assert load_detector(champion).bundle.id == load_detector(random_bundle(2)).bundle.id
    plain = Path(shutil.copytree(random_bundle(1), tmp_path / "plain"))
    assert open_bundle(str(plain)) == plain
