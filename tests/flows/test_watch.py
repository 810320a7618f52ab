import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree

import cv2
import pytest

from flows.watch import Look, look
from tests.flows.conftest import deployed, read_until
from tests.images import part
from uad.errors import DataError
from uad.registry import ModelRegistry

SETTLED = timedelta(seconds=30)


def later(folder: Path, seconds: float = 60.0) -> Look:
    return look("parts", folder, SETTLED, datetime.now(UTC) + timedelta(seconds=seconds))


def test_each_state_of_a_folder_is_announced_once(tmp_path: Path, uad_home: Path) -> None:
    folder = tmp_path / "camera"
    folder.mkdir()
    assert not later(folder).announced  # empty
    (folder / "1.png").write_bytes(b"1")
    assert later(folder).announced
    assert later(folder).reason == "nothing new"
    (folder / "1.png").write_bytes(b"one")
    assert later(folder).announced
    (folder / "2.png").write_bytes(b"2")
    assert later(folder).announced


def test_a_folder_in_the_middle_of_a_copy_is_left_alone(tmp_path: Path, uad_home: Path) -> None:
    folder = tmp_path / "camera"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"1")
    found = later(folder, seconds=10)
    assert (found.announced, found.reason) == (False, "files are still arriving")
    assert later(folder).announced


def test_a_folder_that_is_gone_is_named(tmp_path: Path, uad_home: Path) -> None:
    with pytest.raises(DataError, match="camera is gone"):
        later(tmp_path / "camera")


@pytest.fixture
def camera(tmp_path: Path, normals: Path) -> Path:
    """A folder of images that arrived some time ago."""
    folder = copytree(normals, tmp_path / "camera")
    age(folder)
    return folder


def age(folder: Path) -> None:
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    for file in folder.iterdir():
        os.utime(file, (long_ago, long_ago))


@pytest.fixture
def deploy(
    prefect_api: str, camera: Path, registry: ModelRegistry
) -> Iterator["subprocess.Popen[str]"]:
    with deployed(prefect_api, camera, "--watch", "5", "--promote", "always") as process:
        yield process


@pytest.mark.slow
def test_new_images_in_the_watched_folder_begin_a_retraining(
    deploy: "subprocess.Popen[str]", camera: Path, registry: ModelRegistry
) -> None:
    read_until(deploy, "registered: models:/parts/1")
    cv2.imwrite(str(camera / "new.png"), part(900))
    age(camera)
    read_until(deploy, "registered: models:/parts/2")
    deploy.send_signal(signal.SIGINT)
    assert deploy.wait(120) == 0
    assert registry.version("parts", "2").tags["uad.dataset"].startswith("parts@")
    assert registry.version("parts", "2").tags["uad.reason"] == "new images"
