"""A detector of several parts, of one, and one without any training."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest

from uad.bundle import read_bundle
from uad.cli.train import quick_settings
from uad.config import DetectorConfig, TrainingConfig, load_settings
from uad.config.loading import parse_yaml, shipped_text, validate
from uad.data import Dataset
from uad.errors import ConfigError
from uad.images import read
from uad.inference.detector import load_detector
from uad.models.parts import Teacher

QUICK = """
import sys
sys.modules["paddle"] = None  # not importable
from uad.cli import main
main(sys.argv[1:])
"""


def test_a_quick_model_needs_no_paddle_and_finds_planted_defects(
    parts: Path, dataset: Dataset, tmp_path: Path
) -> None:
    output = tmp_path / "quick"
    options = ["--teacher", "random", "--set", "model.width=8"]
    options += ["--set", "input.height=48", "--set", "input.width=64", "--quick"]
    command = ["train", "--data", str(parts), "--output", str(output), *options]
    done = subprocess.run(
        [sys.executable, "-c", QUICK, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "memory, 0.5 whole image" in done.stdout + done.stderr
    bundle = read_bundle(output)
    assert bundle.manifest.chosen_epoch is None
    assert bundle.arrays("student") == {}
    assert not any(engine.endswith("/int8") for engine in bundle.manifest.calibration)
    assert not any(
        array.name.startswith("student") for array in onnx.load(bundle.model_path).graph.initializer
    )
    with closing(load_detector(output)) as detector:
        found = [(s.label, detector.detect([read(s.path)])[0]) for s in dataset.test]
    scores = {label: [one.score for known, one in found if known == label] for label in (0, 1)}
    assert np.median(scores[1]) > max(scores[0])
    raised = {one.raised_by for _, one in found if one.is_anomalous}
    assert raised <= {"memory", "whole image"} and raised


def test_what_is_set_beside_quick_holds() -> None:
    wanted = load_settings(TrainingConfig, None, [*quick_settings(quick=True), "export.int8=auto"])
    assert (wanted.detector.student, wanted.export.int8) == (False, "auto")
    recipe = validate(TrainingConfig, parse_yaml(shipped_text("training/quick")), origin="quick")
    assert recipe == load_settings(TrainingConfig, None, quick_settings(quick=True))


def test_a_full_model_has_every_part_and_says_how_they_were_put_together(
    trained_bundle: Path,
) -> None:
    made = read_bundle(trained_bundle).manifest
    assert made.detector is not None
    assert "planted defects" in made.detector.reason
    assert "a memory of " in made.detector.reason
    assert made.chosen_epoch is not None
    entry = made.calibration["onnxruntime/fp32"]
    assert len(entry.map_maxima) == len(entry.scores)
    assert entry.map_threshold is not None


def test_a_share_alpha_of_calibration_images_at_most_has_a_marked_place(
    trained_bundle: Path, dataset: Dataset
) -> None:
    with closing(load_detector(trained_bundle)) as detector:
        marked = [detector.detect([read(s.path)])[0].label_map.any() for s in dataset.calibration]
        assert sum(marked) <= detector.alpha * (len(marked) + 1)
        lower = detector.detect([read(dataset.test[0].path)], alpha=0.5)[0]
        assert lower.map_threshold < detector.map_threshold


@pytest.mark.parametrize("off", ["memory", "whole_image"])
def test_a_part_that_is_off_is_in_neither_bundle_nor_graph(
    off: str, dataset: Dataset, teacher: Teacher, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    from uad.training import train

    parts = DetectorConfig.model_validate({"student": off == "memory", off: False})
    brief = tiny_config.training.model_copy(update={"epochs": 1, "min_steps": 0})
    config = tiny_config.model_copy(update={"detector": parts, "training": brief})
    bundle = train(dataset, config, teacher, tmp_path / "bundle")
    assert bundle.arrays(off) == {}  # type: ignore[arg-type]
    outputs = {value.name for value in onnx.load(bundle.model_path).graph.output}
    assert off not in outputs
    assert bundle.manifest.detector is not None
    assert off not in bundle.manifest.detector.parts()


def test_the_published_recipe_is_the_student_alone_in_a_square() -> None:
    from importlib.resources import files

    file = Path(str(files("uad"))) / "configs/training/published.yaml"
    config = load_settings(TrainingConfig, file)
    assert (config.input.height, config.input.width) == (256, 256)
    assert config.detector == DetectorConfig(memory=False, whole_image=False)


def test_a_detector_that_could_not_say_where_is_refused() -> None:
    with pytest.raises(ConfigError, match="there would be no anomaly map"):
        overrides = ["detector.student=off", "detector.memory=off"]
        load_settings(TrainingConfig, None, overrides)
