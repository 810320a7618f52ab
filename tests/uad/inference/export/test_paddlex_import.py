"""An STFPM trained by PaddleX becomes a bundle that computes what PaddleX computes."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.images import part, write_mvtec
from uad.bundle import read_bundle
from uad.cli import main
from uad.data import load_dataset
from uad.errors import CalibrationError, ConfigError, DataError, TeacherError
from uad.inference.detector import load_detector
from uad.inference.engines import load_engine
from uad.inference.export.paddlex_import import import_stfpm
from uad.models.paddle_runtime import paddle
from uad.models.resnet import random_weights

SIZE = (64, 96)
OURS_TO_CHILD = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}


@pytest.fixture(scope="module")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good parts."""
    folder = tmp_path_factory.mktemp("good parts")
    for index in range(20):
        cv2.imwrite(str(folder / f"{index:02}.png"), part(index))
    return folder


def paddleseg_network(seed: int) -> Any:
    """What PaddleSeg's STFPM uses twice: ResNet-18's children without pooling and classifier."""
    paddle.seed(seed)
    children = list(paddle.vision.models.resnet18().children())[:-2]
    network = paddle.nn.Sequential(*children)
    for name, buffer in network.named_buffers():
        buffer.set_value(paddle.rand(buffer.shape) + ("variance" in name))
    network.eval()
    return network


def paddleseg_features(network: Any, images: Any) -> list[Any]:
    features = []
    for name, layer in network.named_children():
        images = layer(images)
        features += [images] if name in ("4", "5", "6") else []
    return features


def paddlex_level_maps(student: Any, teacher: Any, image: np.ndarray) -> list[np.ndarray]:
    """Squared distances of unit vectors, (h, w) a level, as PaddleSeg's STFPM computes them."""
    rgb = image[:, :, ::-1].astype(np.float32) / 255
    normalised = (rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    batch = paddle.to_tensor(normalised.transpose(2, 0, 1)[None].astype(np.float32))
    maps = []
    with paddle.no_grad():
        pairs = zip(*(paddleseg_features(n, batch) for n in (teacher, student)), strict=True)
        for features in pairs:
            t, s = (paddle.nn.functional.normalize(one, axis=1) for one in features)
            maps.append(((t - s) ** 2).sum(axis=1)[0].numpy())
    return maps


def test_the_bundle_computes_half_of_paddlexs_distances(tmp_path: Path, normals: Path) -> None:
    student, teacher = paddleseg_network(1), paddleseg_network(2)
    state = {
        f"{part}.model.{name}": value
        for part, network in (("student", student), ("teacher", teacher))
        for name, value in network.state_dict().items()
    }
    file = tmp_path / "model.pdparams"
    paddle.save(state, str(file))
    bundle = import_stfpm(file, load_dataset(normals), tmp_path / "bundle", size=SIZE)
    image = part(99, size=SIZE)
    engine = load_engine(bundle, "onnxruntime")
    ours = [level[0] for level in engine.outputs(image[None]).values()]
    engine.close()
    theirs = paddlex_level_maps(student, teacher, image)
    for level, expected in zip(ours, theirs, strict=True):
        assert level.shape == expected.shape
        assert np.abs(2 * level - expected).max() <= 1e-3 * expected.max()
    kept = bundle.arrays("student")["layer2.0.downsample.1.running_var"]
    assert np.array_equal(kept, state["student.model.5.0.downsample.1._variance"].numpy())


def paddlex_state(width: int = 8) -> dict[str, np.ndarray]:
    """Names as in PaddleX's files, small random weights."""
    state = {}
    for part_, seed in (("student", 1), ("teacher", 2)):
        for name, value in random_weights(width, seed).items():
            first, _, rest = name.partition(".")
            rest = rest.replace("running_mean", "_mean").replace("running_var", "_variance")
            state[f"{part_}.model.{OURS_TO_CHILD[first]}.{rest}"] = value
        state[f"{part_}.model.7.0.conv1.weight"] = np.zeros((1, 1, 3, 3), np.float32)
    return state


def written(file: Path, state: Mapping[str, object]) -> Path:
    file.write_bytes(pickle.dumps(dict(state), protocol=4))
    return file


def test_the_command_writes_a_bundle_whose_threshold_the_good_images_set(
    tmp_path: Path, normals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "model.pdparams", paddlex_state())
    output = tmp_path / "bundle"
    options = ["--calibrate", str(normals), "--output", str(output), "--size", "64"]
    with pytest.raises(SystemExit) as stopped:
        main(["import", "paddlex", str(file), *options])
    assert not stopped.value.code
    assert "threshold" in capsys.readouterr().out
    manifest = read_bundle(output).manifest
    detector = load_detector(output)
    scores = [detector.detect([part(index)])[0].score for index in range(20)]
    detector.close()
    assert manifest.dataset is not None
    assert (manifest.dataset.train, manifest.dataset.calibration) == (0, 20)
    assert manifest.teacher.id == "file:model.pdparams"
    assert manifest.input.interpolation == "linear"
    assert manifest.calibration["onnxruntime/fp32"].scores == pytest.approx(sorted(scores))
    assert sum(score > detector.threshold for score in scores) <= 1


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    tmp_path: Path, normals: Path
) -> None:
    state = {**paddlex_state(), "student.model.0.bias": Hostile(tmp_path / "ran")}
    file = written(tmp_path / "model.pdparams", state)
    with pytest.raises(TeacherError, match=r"model\.pdparams was refused"):
        import_stfpm(file, load_dataset(normals), tmp_path / "bundle")
    assert not (tmp_path / "ran").exists()


def test_what_is_no_stfpm_is_named_as_such(tmp_path: Path, normals: Path) -> None:
    only_student = {k: v for k, v in paddlex_state().items() if k.startswith("student")}
    classifier = {k.removeprefix("student.model."): v for k, v in only_student.items()}
    wanted = {
        "a": (only_student, "teacher has no weight"),
        "b": (classifier, "not an STFPM of PaddleX"),
    }
    for name, (state, words) in wanted.items():
        file = written(tmp_path / f"{name}.pdparams", state)
        with pytest.raises(TeacherError, match=words):
            import_stfpm(file, load_dataset(normals), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_an_impossible_size_or_alpha_writes_nothing(tmp_path: Path, normals: Path) -> None:
    file = written(tmp_path / "model.pdparams", paddlex_state())
    with pytest.raises(ConfigError, match="size: 'height'"):
        import_stfpm(file, load_dataset(normals), tmp_path / "bundle", size=(100, 96))
    with pytest.raises(CalibrationError, match="alpha"):
        import_stfpm(file, load_dataset(normals), tmp_path / "bundle", alpha=5.0)
    assert not (tmp_path / "bundle").exists()


def test_images_that_paddlex_may_have_trained_on_do_not_set_the_threshold(tmp_path: Path) -> None:
    file = written(tmp_path / "model.pdparams", paddlex_state())
    dataset = load_dataset(write_mvtec(tmp_path / "parts", train=4, good=1, bad=1))
    with pytest.raises(DataError, match="good images only"):
        import_stfpm(file, dataset, tmp_path / "bundle")
