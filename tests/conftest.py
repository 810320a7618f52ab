"""Fixtures shared by all tests."""

import functools
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.bundles import write_random_bundle
from tests.images import write_mvtec
from uad.config import TrainingConfig
from uad.registry import ModelRegistry

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Started in the background, a shell leaves Ctrl-C ignored, for all that tests start too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def uad_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a state folder of its own, and neither server nor terminal by accident."""
    home = tmp_path / "uad-home"
    monkeypatch.setenv("UAD_HOME", str(home))
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that sets up logging, run in a test, writes to a stream closed after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images and a real teacher kept outside the project; skips where they are absent."""
    folder = Path(os.environ.get("UAD_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real images at {folder}; set UAD_SHARED")
    return folder


@pytest.fixture(scope="session")
def shared_teacher(shared: Path) -> Path:
    """A real ImageNet ResNet-18, conv1 to layer3."""
    return shared / "weights" / "resnet18_imagenet1k_v1_conv1-layer3.npz"


Fill = Callable[[Path], object]
MadeOnce = Callable[[str, Fill], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """From a name and what fills a folder to that folder: filled by the first process that asks."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of all processes of this run

    def make(name: str, fill: Fill) -> Path:
        folder, done = root / f"once-{name}", root / f"once-{name}.done"
        with FileLock(root / f"once-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed in it
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MVTec AD folder of small synthetic parts; see tests/images.py."""
    return write_mvtec(tmp_path_factory.mktemp("data") / "parts")


@pytest.fixture(scope="session")
def tiny_config() -> TrainingConfig:
    """A training of seconds: 8 channels, 48x64 px."""
    return TrainingConfig.model_validate(
        {
            "model": {"width": 8},
            "input": {"height": 48, "width": 64},
            "training": {"epochs": 12, "min_steps": 0, "batch_size": 4},
            "export": {"int8": "off"},
        }
    )


@pytest.fixture(scope="session")
def trained_bundle(made_once: MadeOnce, parts: Path, tiny_config: TrainingConfig) -> Path:
    """A bundle really trained on `parts`; read only: tests that alter one take `tiny_bundle`."""
    from uad.data import load_dataset
    from uad.models.teacher import load_teacher
    from uad.training import train

    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UAD_HOME", str(folder / "home"))
            dataset = load_dataset(parts, tiny_config.data)
            train(dataset, tiny_config, load_teacher("random", width=8), folder / "parts")

    return made_once("trained-bundle", fill) / "parts"


@pytest.fixture
def tiny_bundle(trained_bundle: Path, tmp_path: Path) -> Path:
    """A copy of `trained_bundle` for this test alone."""
    return Path(shutil.copytree(trained_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """From a seed to a calibrated bundle with random weights: milliseconds, and no Paddle.

    The folders are shared by all tests of a session: copy one before altering it.
    """
    root = tmp_path_factory.mktemp("random-bundles")

    @functools.cache
    def make(seed: int) -> Path:
        return write_random_bundle(root / f"seed-{seed}", seed)

    return make


@pytest.fixture(scope="session")
def empty_registry(made_once: MadeOnce) -> Path:
    """An MLflow database with its tables, made once: migrations take seconds."""
    name = "mlflow.db"
    folder = made_once(
        "registry", lambda folder: ModelRegistry(f"sqlite:///{folder / name}").products()
    )
    return folder / name


@pytest.fixture
def registry(uad_home: Path, empty_registry: Path) -> ModelRegistry:
    """A registry of the test's own, the one that `uad` finds by default."""
    (uad_home / "mlflow").mkdir(parents=True)
    shutil.copy(empty_registry, uad_home / "mlflow" / "mlflow.db")
    return ModelRegistry()


@pytest.fixture(scope="session")
def stocked_registry(
    made_once: MadeOnce, empty_registry: Path, random_bundle: Callable[[int], Path]
) -> Path:
    """The same with versions 1, 2 and 3 of a product cookie, none of them champion."""

    def fill(folder: Path) -> None:
        file = shutil.copy(empty_registry, folder)
        registry = ModelRegistry(f"sqlite:///{file}")
        for seed in (1, 2, 3):
            registry.register(random_bundle(seed), "cookie")

    return made_once("stocked-registry", fill) / empty_registry.name


@pytest.fixture
def cookie(registry: ModelRegistry, uad_home: Path, stocked_registry: Path) -> ModelRegistry:
    """`registry` with versions 1, 2 and 3 of cookie: random bundles of those seeds."""
    shutil.copy(stocked_registry, uad_home / "mlflow" / "mlflow.db")
    return registry
