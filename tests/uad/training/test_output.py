"""Where a training may write."""

import json
from pathlib import Path

import pytest

from uad.bundle import MANIFEST, read_bundle
from uad.cli import main
from uad.config import TrainingConfig
from uad.data import load_dataset
from uad.errors import TrainingError
from uad.models.teacher import load_teacher
from uad.training.output import finished

TINY = ["model.width=8", "input.height=48", "input.width=64", "training.epochs=12"]
TINY += ["training.min_steps=0", "training.batch_size=4", "export.int8=off"]
"""The settings of `trained_bundle`."""


def train(parts: Path, output: Path, *options: str) -> object:
    """`uad train` with the settings of `trained_bundle`; its exit status."""
    settings = [word for setting in TINY for word in ("--set", setting)]
    command = ["train", "--data", str(parts), "--output", str(output), "--teacher", "random"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, *settings, *options])
    return stopped.value.code


def test_a_finished_training_is_not_done_again(
    parts: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tiny_bundle / MANIFEST).stat().st_mtime_ns
    assert not train(parts, tiny_bundle)
    assert "finished" in capsys.readouterr().err
    assert (tiny_bundle / MANIFEST).stat().st_mtime_ns == before


def test_another_trainings_bundle_is_replaced_only_where_that_is_asked_for(
    parts: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_bundle(tiny_bundle).id
    other = ("--set", "training.epochs=1", "--set", "training.min_steps=0")
    assert train(parts, tiny_bundle, *other) == 1
    assert "other settings" in " ".join(capsys.readouterr().err.split())
    assert read_bundle(tiny_bundle).id == before
    assert not train(parts, tiny_bundle, *other, "--overwrite")
    assert read_bundle(tiny_bundle).manifest.config["training"]["epochs"] == 1


def test_a_folder_that_is_no_bundle_is_refused_before_anything_is_trained(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/notes.txt").write_text("mine")
    for options in ((), ("--overwrite",)):
        assert train(parts, tmp_path / "photos", *options) == 1
        assert "is not a bundle" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "photos/notes.txt").read_text() == "mine"


def test_a_bundle_whose_training_was_cut_off_is_gone_on_with(
    parts: Path, tiny_bundle: Path, tiny_config: TrainingConfig
) -> None:
    manifest = json.loads((tiny_bundle / MANIFEST).read_text())
    (tiny_bundle / MANIFEST).write_text(json.dumps({**manifest, "calibration": {}}))
    dataset = load_dataset(parts, tiny_config.data)
    teacher = load_teacher("random", width=8)
    assert finished(tiny_bundle, dataset, tiny_config, teacher) is None


def test_other_images_and_another_teacher_are_named(
    parts: Path, tiny_bundle: Path, tiny_config: TrainingConfig
) -> None:
    dataset = load_dataset(parts / "train/good", tiny_config.data)
    teacher = load_teacher("random", width=8, seed=1)
    with pytest.raises(TrainingError, match="other images and another teacher"):
        finished(tiny_bundle, dataset, tiny_config, teacher)
