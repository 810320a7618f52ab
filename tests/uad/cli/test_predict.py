import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from uad.bundle import REFERENCE, add_calibration, read_bundle
from uad.config.pipeline import PipelineConfig, parse_pipeline
from uad.images.folders import list_files
from uad.registry import ModelRegistry
from uad.scoring.conformal import shortfall_sentence

Bundles = Callable[[int], Path]
Uad = Callable[..., Any]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for name in ("a.png", "b.JPG"):
        done, data = cv2.imencode(Path(name).suffix.lower(), rng.integers(0, 256, (30, 50, 3)))
        assert done
        (folder / name).write_bytes(data.tobytes())
    return folder


def test_a_line_an_image_with_score_and_verdict(
    uad: Uad, random_bundle: Bundles, photos: Path
) -> None:
    ran = uad("predict", "--pipeline", random_bundle(1), "--input", photos, "--threshold", "1e-9")
    first, second = ran.out.splitlines()
    assert first.startswith(f"{photos / 'a.png'}: ANOMALOUS  score 0.")
    assert "threshold 1e-09" in first
    assert second.startswith(f"{photos / 'b.JPG'}: ANOMALOUS")
    assert "2 judged, 2 anomalous" in ran.err
    assert ran.status == 0


def test_the_csv_file_has_a_line_an_image_also_of_one_that_cannot_be_read(
    uad: Uad, random_bundle: Bundles, photos: Path, tmp_path: Path
) -> None:
    (photos / "c.png").write_bytes(b"broken")
    file = tmp_path / "new folder" / "verdicts.csv"
    uad("predict", "-p", random_bundle(1), "-i", photos, "--threshold", "0", "--csv", file)
    with file.open(encoding="utf-8", newline="") as stream:
        a, b, broken = csv.DictReader(stream)
    assert (a["name"], a["verdict"], a["regions"]) == (str(photos / "a.png"), "anomalous", "1")
    assert (b["largest_box"], b["threshold"]) == ("0 0 50 30", "0")
    assert float(b["score"]) > 0
    assert b["model_version"] == read_bundle(random_bundle(1)).id
    assert (broken["name"], broken["verdict"]) == (str(photos / "c.png"), "error")
    assert "c.png" in broken["error"]


def test_a_file_that_holds_no_verdicts_is_not_overwritten(
    uad: Uad, random_bundle: Bundles, photos: Path
) -> None:
    before = (photos / "a.png").read_bytes()
    ran = uad("predict", "-p", random_bundle(1), "-i", photos, "--csv", photos / "a.png")
    assert (ran.status, (photos / "a.png").read_bytes()) == (1, before)
    assert "choose another --csv" in ran.err


def test_an_alpha_that_cannot_be_promised_is_said_once(
    uad: Uad, random_bundle: Bundles, photos: Path
) -> None:
    ran = uad("predict", "-p", random_bundle(1), "-i", photos, "--alpha", "0.001")
    assert ran.err.count("With 19 calibration images") == 1
    assert "you need 999" in ran.err


def test_too_few_images_of_too_few_captures_are_said_as_training_says_it(
    uad: Uad, random_bundle: Bundles, photos: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(shutil.copytree(random_bundle(1), tmp_path / "few"))
    entry = bundle.manifest.calibration[REFERENCE]
    scores = entry.scores[:12]
    few = {
        "scores": scores,
        "threshold": scores[-1],
        "alpha": 1 / 13,
        "images": (),
        "captures": (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3),
    }
    add_calibration(bundle, REFERENCE, entry.model_copy(update=few))
    ran = uad("predict", "-p", bundle.path, "-i", photos)
    said = " ".join(ran.err.split())
    assert said.count(shortfall_sentence(0.05, 1 / 13, 12, captures=4)) == 1
    assert "show 4 captures" in said


def test_images_of_another_kind_than_those_of_calibration_are_said_once(
    uad: Uad, trained_bundle: Path, photos: Path
) -> None:
    ran = uad("predict", "-p", trained_bundle, "-i", photos, "--json")
    assert ran.err.count("The image is in colour, but all images that set the threshold") == 1
    assert str(photos / "a.png") in ran.err
    assert [len(json.loads(line)["warnings"]) for line in ran.out.splitlines()] == [1, 1]
    assert ran.status == 0


def test_json_is_an_object_a_line(uad: Uad, random_bundle: Bundles, photos: Path) -> None:
    ran = uad("predict", "-p", random_bundle(1), "-i", photos, "--threshold", "0", "--json")
    first, second = map(json.loads, ran.out.splitlines())
    assert (first["input"], first["size"]) == (str(photos / "a.png"), [30, 50])
    assert second["regions"][0]["box"] == [0, 0, 50, 30]


def test_pictures_and_json_are_saved_where_asked(
    uad: Uad, random_bundle: Bundles, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "the results"
    uad("predict", "-p", random_bundle(1), "-i", photos, "--save_path", out)
    assert sorted(file.name for file in out.iterdir()) == [
        "a_res.json",
        "a_res.png",
        "b_res.jpg",
        "b_res.json",
    ]
    saved = json.loads((out / "a_res.json").read_text("utf-8"))
    assert np.shape(saved["pred"]) == (30, 50)


def test_a_broken_picture_is_reported_and_the_others_are_judged(
    uad: Uad, random_bundle: Bundles, photos: Path
) -> None:
    (photos / "0.png").write_bytes(b"broken")
    ran = uad("predict", "--pipeline", random_bundle(1), "--input", photos)
    assert len(ran.out.splitlines()) == 2
    assert "0.png" in ran.err
    assert "1 could not be read" in ran.err
    assert ran.status == 1


def test_a_path_that_is_not_there_is_one_error_and_no_count(
    uad: Uad, random_bundle: Bundles, tmp_path: Path
) -> None:
    ran = uad("predict", "--pipeline", random_bundle(1), "--input", tmp_path / "fotos")
    assert ran.err.count("\n") == 1
    assert "fotos: No such file or directory" in ran.err
    assert (ran.out, ran.status) == ("", 1)


def test_paddlex_flags_on_uad_itself_do_the_same(
    uad: Uad, registry: ModelRegistry, random_bundle: Bundles, photos: Path
) -> None:
    registry.register(random_bundle(1), "cookie")
    registry.promote("cookie", "1")
    theirs = uad(
        "--pipeline", "anomaly_detection", "--input", photos, "--device", "cpu", "--use_hpip"
    )
    ours = uad("predict", "--pipeline", "cookie", "--input", photos)
    assert theirs.status == 0
    assert theirs.out == ours.out
    assert "version 1" in ours.out


def test_the_engine_and_precision_asked_for_are_taken(
    uad: Uad, random_bundle: Bundles, photos: Path
) -> None:
    asked = ("predict", "-p", random_bundle(1), "-i", photos, "--precision", "fp32", "--engine")
    assert uad(*asked, "onnxruntime").status == 0
    assert "is not calibrated for openvino/fp32" in uad(*asked, "openvino").err


def test_the_pipelines_yaml_can_be_had_changed_and_run(
    uad: Uad, random_bundle: Bundles, photos: Path, tmp_path: Path
) -> None:
    ran = uad("--get_pipeline_config", "anomaly_detection", "--save_path", tmp_path / "my path")
    file = Path(ran.out.strip())
    values = yaml.safe_load(file.read_text("utf-8"))
    assert parse_pipeline(values, origin="x") == PipelineConfig()
    values["SubModules"]["AnomalyDetection"]["model_dir"] = str(random_bundle(1))
    file.write_text(yaml.safe_dump(values))
    used = uad("--pipeline", file, "--input", photos)
    assert read_bundle(random_bundle(1)).id in used.out
    again = uad("--get_pipeline_config", "anomaly_detection", "--save_path", tmp_path / "my path")
    assert again.status == 1
    assert "exists and is different" in again.err
    assert yaml.safe_load(file.read_text("utf-8")) == values


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--pipeline", "anomaly_detection"), "Add --input"),
        (("--input", "x.png"), "--pipeline is missing"),
        (("--get_pipeline_config", "OCR"), "no pipeline 'OCR'"),
        (("--device", "cpu", "models"), "Write them after 'models'"),
        (("predict", "--pipeline", "nothing.yaml", "--input", "x"), "nothing.yaml"),
    ],
)
def test_a_wrong_call_is_one_line_that_says_what_to_do(
    uad: Uad, registry: ModelRegistry, arguments: tuple[str, ...], reason: str
) -> None:
    ran = uad(*arguments)
    assert ran.status == 1
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert reason in ran.err


def test_without_arguments_the_help_is_shown(uad: Uad) -> None:
    ran = uad()
    assert "--get_pipeline_config" in ran.out + ran.err
    assert "promote" in ran.out + ran.err


def test_a_pipeline_needs_neither_training_nor_flows_nor_the_web(
    random_bundle: Bundles, photos: Path
) -> None:
    heavy = ["paddle", "mlflow", "prefect", "sklearn", "scipy", "matplotlib", "fastapi", "onnx"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({heavy!r}))
import uad
with uad.create_pipeline({str(random_bundle(1))!r}) as pipeline:
    for result in pipeline.predict({str(photos)!r}, batch_size=2):
        result.save_all({str(photos / "out")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert len(list((photos / "out").iterdir())) == 4


def test_names_that_are_too_long_or_cannot_be_printed_stop_no_run(
    uad: Uad, random_bundle: Bundles, photos: Path, tmp_path: Path
) -> None:
    data = (photos / "a.png").read_bytes()
    (photos / f"{'long ' * 50}.png").write_bytes(data)
    (photos / f"{'long ' * 50}b.png").write_bytes(data)
    (photos / "two\nlines [b].png").write_bytes(data)
    (photos / os.fsdecode(b"not utf-8 \xfc.png")).write_bytes(data)
    out, table = tmp_path / "out", tmp_path / "verdicts.csv"
    ran = uad("predict", "-p", random_bundle(1), "-i", photos, "--save_path", out, "--csv", table)
    assert ran.status == 0
    assert len(ran.out.splitlines()) == 6
    assert "6 judged" in ran.err
    assert len(list(out.glob("*_res.json"))) == 6
    assert any(r"two\nlines [b].png: " in line for line in ran.out.splitlines())


def test_predict_lists_what_ingest_lists(
    uad: Uad, random_bundle: Bundles, photos: Path, tmp_path: Path
) -> None:
    linked = tmp_path / "elsewhere"
    linked.mkdir()
    shutil.copy(photos / "a.png", linked / "c.png")
    (photos / "link").symlink_to(linked)
    (linked / "loop").symlink_to(photos)
    (photos / "._a.png").write_bytes(b"resource fork")
    (photos / "d.heic").write_bytes(b"")
    os.mkfifo(photos / "pipe.png")
    ran = uad("predict", "-p", random_bundle(1), "-i", photos)
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == [
        str(photos / name) for name in ("a.png", "b.JPG", "link/c.png")
    ]
    assert [file.name for file in list_files(photos).unreadable] == ["d.heic", "pipe.png"]
