"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def uad_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a state folder of its own and no server by accident."""
    home = tmp_path / "uad-home"
    monkeypatch.setenv("UAD_HOME", str(home))
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return home


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
