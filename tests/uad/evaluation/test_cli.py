"""`uad evaluate` on a real, tiny bundle: random weights, calibrated on the folder's normals."""

import json
import shutil
from pathlib import Path

import pytest

from uad.bundle import MANIFEST, Bundle, DatasetRef, read_bundle, write_bundle
from uad.cli import main
from uad.config import SplitConfig, TrainingConfig
from uad.config.training import InputConfig, ModelConfig
from uad.data import ingest, load_dataset, make_demo_images
from uad.evaluation import Report, evaluate
from uad.evaluation.explanations import sentences
from uad.images import read, resize
from uad.inference.calibrate import calibrate
from uad.inference.detector import load_detector
from uad.models.parts import TrainedModel
from uad.models.teacher import load_teacher
from uad.registry import ModelRegistry
from uad.scoring.maps import ScoreDefinition

INPUT = InputConfig(height=64, width=64)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_images(tmp_path_factory.mktemp("demo"), seed=0)[0]


@pytest.fixture(scope="module")
def bundle(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A student that is another random network: it detects little, but runs like any other."""
    dataset = load_dataset(demo, SplitConfig())
    teacher, other = (load_teacher("random", width=8, seed=seed) for seed in (0, 1))
    golden = tuple(resize(read(sample.path), (64, 64)) for sample in dataset.selection[:2])
    model = TrainedModel(
        student=other.weights,
        teacher=teacher,
        input=INPUT.spec(),
        score=ScoreDefinition(),
        statistics={},
        config=TrainingConfig(input=INPUT, model=ModelConfig(width=8)),
        golden=golden,
    )
    ref = DatasetRef(name=dataset.name, version="v", train=1, selection=1, calibration=1)
    written = write_bundle(tmp_path_factory.mktemp("bundle") / "demo", model, dataset=ref)
    return calibrate(written, dataset.calibration, alpha=0.05)


def test_a_report_says_of_how_many_captures_the_threshold_is(bundle: Bundle, demo: Path) -> None:
    dataset = load_dataset(demo, SplitConfig())
    pattern = r"(\d)\."  # the last digit: ten captures at most
    shown = {sample.name[-5] for sample in dataset.calibration}
    own = calibrate(bundle, dataset.calibration, alpha=0.05, group_pattern=pattern)
    entry = own.manifest.calibration["onnxruntime/fp32"]
    assert entry.n_captures == len(shown)
    by_image = dict(zip(entry.images, entry.captures, strict=True))
    assert len({(name[-5], number) for name, number in by_image.items()}) == len(shown)
    detector = load_detector(own.path)
    report = evaluate(detector, dataset.test)
    detector.close()
    assert report.n_captures == len(shown)
    said = " ".join(sentences(report))
    assert f"{len(entry.scores)} calibration images of {len(shown)} captures" in said
    assert f"{len(entry.scores)} calibration images show {len(shown)} captures" in said
    assert (
        calibrate(bundle, dataset.calibration, alpha=0.05)
        .manifest.calibration["onnxruntime/fp32"]
        .captures
        == ()
    )


def run(*arguments: object) -> None:
    main(["evaluate", *map(str, arguments)])


def test_it_prints_the_figures_and_writes_json_and_report(
    bundle: Bundle, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, folder = tmp_path / "out" / "figures.json", tmp_path / "report"
    with pytest.raises(SystemExit) as stopped:
        run(bundle.path, "--data", demo, "--json", figures, "--report", folder)
    assert not stopped.value.code
    shown = capsys.readouterr()
    assert "false alarm rate" in shown.out
    assert "is expected in" in " ".join(shown.out.split())
    report = Report.from_json(figures.read_text(encoding="utf-8"))
    assert report.provenance.engine == "onnxruntime/fp32"
    assert report.n_calibration == len(bundle.manifest.calibration["onnxruntime/fp32"].scores)
    assert (folder / "report.html").is_file()


def test_another_alpha_moves_the_threshold(
    bundle: Bundle, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(bundle.path, "--data", demo, "--alpha", 0.5, "--json", tmp_path / "f.json")
    values = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert values["alpha"] == pytest.approx(0.5, abs=0.05)
    assert values["threshold"] < bundle.manifest.calibration["onnxruntime/fp32"].threshold


@pytest.mark.parametrize("command", ["evaluate", "calibrate"])
def test_a_person_can_say_what_the_folders_hold(
    command: str, bundle: Bundle, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    shutil.copytree(demo / "train" / "good", tmp_path / "set" / "positive")
    shutil.copytree(demo / "test" / "good", tmp_path / "set" / "negative")
    asked = [command, str(copy), "--data", str(tmp_path / "set")]
    with pytest.raises(SystemExit) as stopped:
        main(asked)
    assert stopped.value.code == 1
    assert "--normal DIR --defects DIR" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main([*asked, "--normal", "positive", "--defects", "negative"])
    assert not stopped.value.code


@pytest.mark.parametrize("good", ["good", "test/good"])
def test_new_images_measure_false_alarms_too(
    good: str, bundle: Bundle, demo: Path, tmp_path: Path
) -> None:
    normal, figures = demo / "test" / "good", tmp_path / "figures.json"
    shutil.copytree(normal, tmp_path / "new" / good)
    defective = next(each for each in (demo / "test").iterdir() if each != normal)
    shutil.copytree(defective, tmp_path / "new" / good.replace("good", "scratch"))
    with pytest.raises(SystemExit) as stopped:
        run(bundle.path, "--data", tmp_path / "new", "--json", figures)
    assert not stopped.value.code
    report = Report.from_json(figures.read_text(encoding="utf-8"))
    assert report.n_normal == len(list(normal.iterdir()))
    assert report.n_anomalous == len(list(defective.iterdir()))


@pytest.mark.parametrize(("place", "said"), [("test/good", []), (".", ["--normal", "."])])
def test_good_images_alone_measure_false_alarms(
    place: str, said: list[str], bundle: Bundle, demo: Path, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    shutil.copytree(demo / "test" / "good", tmp_path / "new" / place)
    with pytest.raises(SystemExit) as stopped:
        run(bundle.path, "--data", tmp_path / "new", "--json", figures, *said)
    assert not stopped.value.code
    report = Report.from_json(figures.read_text(encoding="utf-8"))
    assert report.n_normal == len(list((demo / "test" / "good").iterdir()))


@pytest.fixture
def learned(bundle: Bundle, demo: Path, tmp_path: Path) -> Path:
    """A bundle that says which stored dataset it was trained on."""
    dataset = ingest(demo, "learned", progress=False)
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    manifest = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    manifest["dataset"] |= {"name": dataset.name, "version": dataset.version}
    (copy / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return copy


def test_good_images_that_a_model_learned_from_measure_nothing(
    learned: Path, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(demo / "train" / "good", tmp_path / "old" / "good")
    with pytest.raises(SystemExit) as stopped:
        run(learned, "--data", tmp_path / "old", "--normal", "good")
    assert stopped.value.code == 1
    assert "Good images that the model learned from do not count" in capsys.readouterr().err


def test_nor_do_they_among_test_images(
    learned: Path, demo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(demo / "test", tmp_path / "new" / "test")
    new = len(list((demo / "test" / "good").iterdir()))
    for photo in sorted((demo / "train" / "good").iterdir())[:3]:
        shutil.copy(photo, tmp_path / "new" / "test" / "good" / f"again {photo.name}")
    figures = tmp_path / "figures.json"
    with pytest.raises(SystemExit) as stopped:
        run(learned, "--data", tmp_path / "new", "--json", figures)
    assert not stopped.value.code
    assert Report.from_json(figures.read_text(encoding="utf-8")).n_normal == new
    assert f"The model learned from 3 of the {new + 3} good test images" in caplog.text


def test_they_set_no_threshold_under_another_name(
    learned: Path, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(demo / "train" / "good", tmp_path / "shift")
    asked = ["calibrate", str(learned), "--data", str(tmp_path / "shift"), "--normal", "."]
    with pytest.raises(SystemExit) as stopped:
        main(asked)
    assert stopped.value.code == 1
    assert "--data learned@" in " ".join(capsys.readouterr().err.split())

    new = sorted((demo / "test" / "good").iterdir())
    for photo in new:
        shutil.copy(photo, tmp_path / "shift" / f"new {photo.name}")
    with pytest.raises(SystemExit) as stopped:
        main(asked)
    assert not stopped.value.code
    entry = read_bundle(learned).manifest.calibration["onnxruntime/fp32"]
    assert sorted(entry.images) == sorted(f"new {photo.name}" for photo in new)


def test_a_version_keeps_the_figures_of_its_own_dataset(
    learned: Path, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = ModelRegistry()
    version = registry.register(learned, "learned", metrics={"recall": 0.25, "image_auroc": 0.125})
    shutil.copytree(demo / "test", tmp_path / "other" / "test")
    with pytest.raises(SystemExit) as stopped:
        run(version.address, "--data", tmp_path / "other")
    assert not stopped.value.code
    assert "these are other images" in " ".join(capsys.readouterr().err.split())
    assert registry.version("learned", "1").metrics["image_auroc"] == 0.125

    with pytest.raises(SystemExit) as stopped:
        run(version.address)  # on the dataset that it learned from
    assert not stopped.value.code
    assert "The figures are now in MLflow" in " ".join(capsys.readouterr().err.split())
    assert registry.version("learned", "1").metrics["image_auroc"] != 0.125


def test_without_data_the_dataset_must_be_here(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(bundle.path)
    assert stopped.value.code == 1
    assert "--data FOLDER" in " ".join(capsys.readouterr().err.split())


def test_two_bundles_are_compared_on_the_same_images(
    bundle: Bundle, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(bundle.path, "--data", demo, "--compare", bundle.path, "--report", tmp_path)
    assert not stopped.value.code
    page = (tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")
    assert "same verdict on every image" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{empty}"], "{empty}"),
        (["--data", "{demo}", "--compare", "x"], "--report DIR"),
        (["--data", "{demo}", "--alpha", "7"], "alpha must be a number between 0 and 1"),
        (["--data", "{demo}", "--engine", "abacus"], "abacus"),
    ],
)
def test_mistakes_are_one_line_and_a_failure(
    arguments: list[str],
    message: str,
    bundle: Bundle,
    demo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [one.format(empty=tmp_path, demo=demo) for one in arguments]
    with pytest.raises(SystemExit) as stopped:
        run(bundle.path, *filled)
    said = capsys.readouterr().err.strip()
    assert stopped.value.code == 1
    assert message.format(empty=tmp_path) in said
    assert "Traceback" not in said


def test_a_data_set_without_test_images_names_the_cure(
    bundle: Bundle, demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(bundle.path, "--data", demo / "train" / "good")
    assert stopped.value.code == 1
    assert "There are no test images" in capsys.readouterr().err


def test_the_figures_go_to_the_version_also_one_command_at_a_time(
    bundle: Bundle, demo: Path, registry: ModelRegistry
) -> None:
    with pytest.raises(SystemExit):
        run(bundle.path, "--data", demo)
    with pytest.raises(SystemExit):
        main(["register", str(bundle.path), "--name", "demo"])
    first = registry.version("demo", "1")
    assert {"image_auroc", "recall", "false_alarm_rate", "threshold"} <= set(first.metrics)

    registry.register(bundle.path, "demo")
    assert "recall" not in registry.version("demo", "2").metrics
    with pytest.raises(SystemExit):
        run("models:/demo/2", "--data", demo)
    second = registry.version("demo", "2")
    assert second.metrics["recall"] == first.metrics["recall"]
    assert second.tags["uad.evaluated_on"].startswith(f"{demo.name}@")


def test_figures_at_another_alpha_are_not_the_versions(
    bundle: Bundle, demo: Path, registry: ModelRegistry
) -> None:
    registry.register(bundle.path, "demo")
    with pytest.raises(SystemExit):
        run("models:/demo/1", "--data", demo, "--alpha", "0.2")
    assert "recall" not in registry.version("demo", "1").metrics
