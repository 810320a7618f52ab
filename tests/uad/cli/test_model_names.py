"""Every command that takes a model takes a product's bare name, and says which version it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from uad.registry import ModelRegistry

Bundles = Callable[[int], Path]
Uad = Callable[..., Any]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with good and defective test images."""
    rng = np.random.default_rng(5)
    for kind in ("good", "scratch"):
        (tmp_path / "images" / "test" / kind).mkdir(parents=True)
        for number in range(3):
            picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "images" / "test" / kind / f"{number}.png"), picture)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "images"


@pytest.fixture
def champion(cookie: ModelRegistry) -> ModelRegistry:
    """Cookie's version 2 is champion."""
    cookie.promote("cookie", "2")
    return cookie


def test_evaluate_takes_names_and_says_the_versions(
    uad: Uad, champion: ModelRegistry, images: Path, random_bundle: Bundles
) -> None:
    shutil.copytree(random_bundle(1), "new")
    compared = ("--compare", "cookie", "--report", "r", "--json", "f.json")
    ran = uad("evaluate", "new", "--data", images, *compared)
    assert ran.status == 0, ran.err
    assert ran.err.count("cookie: version 2, the champion") == 1
    assert Path("r/comparison/comparison.html").is_file()

    ran = uad("evaluate", "cookie", "--data", images, "--json", "g.json")
    assert "cookie: version 2, the champion" in ran.err
    assert "cookie on " in ran.out
    assert json.loads(Path("g.json").read_text())["n_normal"] == 3
    assert champion.version("cookie", "2").metrics["recall"] >= 0


def test_a_folder_of_the_same_name_is_used_and_this_is_said(
    uad: Uad, champion: ModelRegistry, images: Path, random_bundle: Bundles
) -> None:
    shutil.copytree(random_bundle(3), "cookie")
    for command in (("evaluate", "cookie", "--data"), ("predict", "-p", "cookie", "-i")):
        ran = uad(*command, images)
        assert ran.status == 0, ran.err
        assert "The folder is used. For the product write models:/cookie@champion" in ran.err
        assert "version 2" not in ran.err


def test_predict_says_the_version(uad: Uad, champion: ModelRegistry, images: Path) -> None:
    ran = uad("predict", "-p", "cookie", "-i", images / "test" / "good")
    assert "cookie: version 2, the champion" in ran.err
    assert ran.out.count("version 2") == 3


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "cooky", "--data", "images"),
        ("predict", "-p", "cooky", "-i", "images"),
        ("export", "cooky", "--output", "device"),
        ("bench", "inference", "--bundle", "cooky"),
        ("calibrate", "cooky", "--data", "images"),
        ("register", "cooky", "--name", "cookie"),
        ("serve", "--model", "cooky", "--port", "0"),
    ],
)
def test_an_unknown_name_is_answered_with_the_products(
    uad: Uad, champion: ModelRegistry, images: Path, command: tuple[str, ...]
) -> None:
    ran = uad(*command)
    assert ran.status == 1
    assert "'cooky' is neither a product nor the folder of a bundle. Products: cookie." in ran.err


def test_export_takes_a_name(uad: Uad, champion: ModelRegistry, images: Path) -> None:
    ran = uad("export", "cookie", "--output", "device")
    assert "cookie: version 2, the champion" in ran.err
    assert "--precision int8" in ran.err  # it has no 8-bit model


@pytest.mark.parametrize("model", ["cookie", "models:/cookie@champion"])
@pytest.mark.parametrize(
    "command", [("calibrate", "--data", "images"), ("register", "--name", "x")]
)
def test_what_needs_a_folder_says_why(
    uad: Uad, champion: ModelRegistry, images: Path, command: tuple[str, ...], model: str
) -> None:
    ran = uad(command[0], model, *command[1:])
    assert ran.status == 1
    assert f"{model} is a registered model, and a registered version never changes" in ran.err
