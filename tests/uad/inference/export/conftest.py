"""Bundles with random weights to export: no training, and images of the `parts` set."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from uad.bundle import Bundle, read_bundle
from uad.data import Dataset, load_dataset
from uad.inference.export import prepare
from uad.inference.prepare import split_of
from uad.inference.quantization.check import Bounds
from uad.inference.quantization.quantize import ENGINES, quantise


@pytest.fixture
def bundle(random_bundle: Callable[[int], Path], tmp_path: Path) -> Bundle:
    """Width 8, 32x32 px, calibrated for ONNX Runtime in float32; this test's own."""
    return read_bundle(Path(copytree(random_bundle(7), tmp_path / "bundle")))


@pytest.fixture
def dataset(bundle: Bundle, parts: Path) -> Dataset:
    return load_dataset(parts, split_of(bundle))


@pytest.fixture(scope="session")
def int8_folder(
    random_bundle: Callable[[int], Path], parts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What `int8_bundle` is a copy of: rounding takes seconds."""
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    bundle = read_bundle(Path(copytree(random_bundle(7), folder)))
    dataset = load_dataset(parts, split_of(bundle))
    rounded = quantise(
        bundle, dataset.train, dataset.selection, engines=ENGINES, bounds=Bounds(99.0, 1.0, 99.0)
    )
    return prepare(rounded, dataset, engine="onnxruntime", precision="int8").path


@pytest.fixture
def int8_bundle(int8_folder: Path, tmp_path: Path) -> Bundle:
    """With an 8-bit model, however it scores, calibrated for ONNX Runtime; this test's own."""
    return read_bundle(Path(copytree(int8_folder, tmp_path / "int8-bundle")))
