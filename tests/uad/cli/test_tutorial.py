"""PaddleX's anomaly detection tutorial, step by step in our words, `paddlex` replaced by `uad`.

The product is called grid, like the images PaddleX's own model was trained on.
"""

import functools
import http.server
import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import yaml

from tests.images import defective, part
from uad.registry import ModelRegistry

Uad = Callable[..., Any]
SIZE = (75, 110)
SERVE = "--serve --pipeline anomaly_detection --device cpu --host 127.0.0.1 --port 0"
CLIENT = Path(__file__).parents[3] / "serving" / "clients" / "python" / "client.py"


@pytest.fixture(scope="module")
def home(
    empty_registry: Path, trained_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A state folder whose registry has a champion of one product."""
    home = tmp_path_factory.mktemp("home")
    (home / "mlflow").mkdir()
    shutil.copy(empty_registry, home / "mlflow" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UAD_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow itself sets it in its process
        registry = ModelRegistry()
        registry.register(trained_bundle, "grid")
        registry.promote("grid", "1")
    return home


@pytest.fixture
def working_directory(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tutorial's picture."""
    monkeypatch.setenv("UAD_HOME", str(home))
    folder = tmp_path / "work"
    folder.mkdir()
    cv2.imwrite(str(folder / "uad_grid.png"), defective(5, size=SIZE)[0])
    monkeypatch.chdir(folder)
    return folder


def run(snippet: str) -> dict[str, Any]:
    """Execute a snippet of a tutorial; what it defined."""
    names: dict[str, Any] = {}
    exec(textwrap.dedent(snippet), names)
    return names


def saved(file: str) -> dict[str, Any]:
    return dict(json.loads(Path(file).read_text("utf-8")))


# 2.1 Command line


def test_2_1_the_quick_command(working_directory: Path, uad: Uad) -> None:
    ran = uad(
        *("--pipeline", "anomaly_detection", "--input", "uad_grid.png"),
        *("--device", "cpu", "--save_path", "./output"),
    )
    found = saved("output/uad_grid_res.json")
    assert ran.status == 0
    assert ran.out.startswith("uad_grid.png: ANOMALOUS")
    assert found["input_path"] == "uad_grid.png"
    assert np.shape(found["pred"]) == SIZE
    assert cv2.imread("output/uad_grid_res.png").ndim == 3


@pytest.mark.parametrize("device", ["npu:0", "xpu:0", "mlu:0", "gpu:0", "gpu:0,1", "tpu:0"])
def test_5_a_device_that_is_not_here_is_one_line_with_the_cure(
    working_directory: Path, uad: Uad, device: str
) -> None:
    ran = uad("--pipeline", "anomaly_detection", "--input", "uad_grid.png", "--device", device)
    assert ran.status == 1
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert device[:3] in ran.err
    assert "cpu" in ran.err


def test_without_a_model_it_says_how_to_get_one_and_asks_nothing(
    registry: ModelRegistry, uad: Uad
) -> None:
    ran = uad("--pipeline", "anomaly_detection", "--input", "uad_grid.png")
    assert ran.status == 1
    assert "uad retrain --data FOLDER --name NAME" in ran.err


# 2.2 Python


def test_2_2_the_python_snippet(
    working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        """
        from uad import create_pipeline

        pipeline = create_pipeline(pipeline="anomaly_detection")
        output = pipeline.predict(input="uad_grid.png")
        for res in output:
            res.print()
            res.save_to_img(save_path="./output/")
            res.save_to_json(save_path="./output/")
        """
    )
    printed = json.loads(capsys.readouterr().out)
    assert (printed["input_path"], printed["pred"]) == ("uad_grid.png", "...")
    assert sorted(file.name for file in Path("output").iterdir()) == [
        "uad_grid_res.json",
        "uad_grid_res.png",
    ]


def test_2_2_the_parameters_of_its_tables(
    working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (result,) = run(
        """
        from uad import create_pipeline

        with create_pipeline("anomaly_detection", device="cpu", use_hpip=True) as pipeline:
            results = list(pipeline.predict("uad_grid.png"))
        """
    )["results"]
    result["input_path"] = "gute Teile/größe.png"
    shown = []
    for options in (
        {"format_json": True, "indent": 2, "ensure_ascii": True},
        {"format_json": True, "ensure_ascii": False},
        {"format_json": False},
    ):
        result.print(**options)
        shown.append(capsys.readouterr().out)
    result.save_to_json("./named.json", indent=2, ensure_ascii=True)
    result.save_to_img("./named.jpg")
    assert "gr\\u00f6\\u00dfe" in shown[0]
    assert "größe" in shown[1]
    assert shown[2].startswith("{'input_path': ")
    assert "gr\\u00f6\\u00dfe" in Path("named.json").read_text("utf-8")
    assert cv2.imread("named.jpg") is not None
    assert isinstance(result, dict)
    assert isinstance(result.img["res"], PIL.Image.Image)
    assert result.json == saved("named.json")


def test_2_2_every_kind_of_input(working_directory: Path) -> None:
    Path("folder").mkdir()
    for name in ("1.png", "2.PNG"):
        data = cv2.imencode(".png", part(int(name[0]), size=SIZE))[1]
        (Path("folder") / name).write_bytes(data.tobytes())
    with serving_files(working_directory) as url:
        results = run(
            f"""
            import cv2
            from uad import create_pipeline

            image = cv2.imread("uad_grid.png")
            pipeline = create_pipeline("anomaly_detection")
            one = ["uad_grid.png", image, "{url}/uad_grid.png", {{"img": image}}]
            one.append({{"input": "uad_grid.png"}})
            singles = [result for value in one for result in pipeline.predict(value)]
            folders = list(pipeline.predict("folder/", batch_size=2))
            listed = list(pipeline.predict([*one, "folder"], batch_size=3))
            """
        )
    assert len({result["score"] for result in results["singles"]}) == 1
    assert [result["input_path"] for result in results["folders"]] == [
        "folder/1.png",
        "folder/2.PNG",
    ]
    assert [result["score"] for result in results["listed"]] == pytest.approx(
        [result["score"] for result in results["singles"] + results["folders"]], rel=1e-5
    )


class serving_files:  # noqa: N801  reads as a function
    """A web server for the files of a folder."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(Quiet, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


# The configuration file, in both forms


def test_2_2_the_configuration_can_be_had_and_loaded(working_directory: Path, uad: Uad) -> None:
    ran = uad("--get_pipeline_config", "anomaly_detection", "--save_path", "./my_path")
    names = run(
        """
        from uad import create_pipeline
        pipeline = create_pipeline(pipeline="./my_path/anomaly_detection.yaml")
        output = pipeline.predict("uad_grid.png")
        for res in output:
            res.save_to_img("./output/")
            res.save_to_json("./output/")
        """
    )
    assert ran.status == 0
    assert Path("output/uad_grid_res.json").is_file()
    assert names["res"]["is_anomalous"]


def older(model: str) -> dict[str, Any]:
    return {
        "Global": {"pipeline_name": "anomaly_detection", "input": "uad_grid.png"},
        "Pipeline": {"model": model, "batch_size": 1, "device": "tpu:0"},
    }


def newer(model: str) -> dict[str, Any]:
    section = {"module_name": "anomaly_detection", "model_name": "STFPM", "model_dir": model}
    return {
        "pipeline_name": "anomaly_detection",
        "device": "tpu:0",
        "SubModules": {"AnomalyDetection": {**section, "batch_size": 1}},
        "Serving": {"visualize": False},
    }


@pytest.mark.parametrize("form", [older, newer])
def test_4_2_both_forms_name_a_model_and_the_command_line_goes_first(
    form: Callable[[str], dict[str, Any]], working_directory: Path, trained_bundle: Path, uad: Uad
) -> None:
    for model in (str(trained_bundle), "models:/grid@champion", "models:/grid/1"):
        Path("my.yaml").write_text(yaml.safe_dump(form(model)), "utf-8")
        ran = uad("--pipeline", "./my.yaml", "--input", "uad_grid.png", "--device", "cpu")
        assert ran.err.startswith("1 judged, 1 anomalous")
    refused = uad("--pipeline", "./my.yaml", "--input", "uad_grid.png")
    assert "tpu:0" in refused.err


# 3 Serving


@pytest.fixture
def server(working_directory: Path) -> Iterator[str]:
    """`uad --serve --pipeline anomaly_detection`, in a process of its own."""
    command = "import sys; from uad.cli import main; main(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", command, *SERVE.split()],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"serving.* on (http://\S+)", line):
                break
        else:
            pytest.fail("".join(said))
        log = threading.Thread(target=process.stderr.read)  # else its pipe would fill up
        log.start()
        try:
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)  # as Ctrl-C: at once
            process.wait(timeout=60)
            log.join()


def test_3_the_service_answers_the_tutorials_client(server: str) -> None:
    url = f"{server}/image-anomaly-detection"
    ran = subprocess.run(
        [sys.executable, str(CLIENT), "uad_grid.png", "out.jpg", url],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert "verdict: anomalous" in ran.stdout
    assert "size: {} x {}".format(*SIZE) in ran.stdout
    assert cv2.imread("out.jpg") is not None


# 4 Custom development: the commands that docs/migration.md names for PaddleX's modes


@pytest.fixture(scope="module")
def paddlex_dataset(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `parts` in lists as PaddleX's converter writes them, spaces in the path."""
    root = tmp_path_factory.mktemp("data") / "mvtec examples"
    (root / "pictures").mkdir(parents=True)
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for file in sorted(parts.rglob("*.png")):
        kind = file.parent.relative_to(parts).as_posix()
        name = f"pictures/{kind.replace('/', ' ')} {file.name}"
        (root / name).write_bytes(file.read_bytes())
        if kind == "train/good":
            lines["train"].append(f"{name} {name}")
        elif kind == "test/rough":
            lines["val"].append(f"{name} pictures/ground_truth rough {file.stem}_mask.png")
    for split, content in lines.items():
        (root / f"{split}.txt").write_text("\n".join(content) + "\n", "utf-8")
    return root


def test_4_check_train_evaluate_predict(
    paddlex_dataset: Path, working_directory: Path, uad: Uad
) -> None:
    tiny = (
        "training.min_steps=0",
        "model.width=8",
        "input.height=48",
        "input.width=64",
        "training.epochs=15",
        "export.int8=off",
    )
    settings = [part for setting in tiny for part in ("--set", setting)]
    for arguments in (
        ("ingest", paddlex_dataset, "--name", "parts"),
        ("train", "--data", "parts", "--output", "bundle", "--teacher", "random", *settings),
        ("evaluate", "bundle", "--data", "parts", "--json", "report.json"),
        ("predict", "--pipeline", "bundle", "--input", "uad_grid.png", "--save_path", "output"),
    ):
        ran = uad(*arguments)
        assert ran.status == 0, ran.err
    assert saved("report.json")["image_auroc"] is None  # the lists hold no good test image
    assert saved("report.json")["pixel_auroc"] > 0.5
    assert np.shape(saved("output/uad_grid_res.json")["pred"]) == SIZE
