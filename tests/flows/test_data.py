"""What the flows' first tasks do with the images; no Prefect server is needed for a task's body."""

import inspect
import json
import os
from pathlib import Path

import cv2
import pytest
from prefect.flows import load_flow_from_entrypoint

from flows.deployments import watch_deployment
from flows.steps import ingest_images
from tests.flows.conftest import TINY
from tests.images import defective, write_mvtec
from uad.config import TrainingConfig
from uad.data.versions import read_version
from uad.operations.inputs import training_inputs
from uad.operations.training import train_bundle

QUICK = {**TINY, "training": {"epochs": 1, "min_steps": 1}, "score": {}}


def test_an_ingest_writes_the_page_of_what_it_found(tmp_path: Path, uad_home: Path) -> None:
    folder = write_mvtec(tmp_path / "parts", train=12, good=2, bad=2)
    _, _, version = ingest_images.fn(str(folder), "parts").partition("@")
    assert (uad_home / f"reports/parts/data-{version}.html").is_file()


def test_findings_are_told_by_their_text(
    tmp_path: Path, uad_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_mvtec(tmp_path / "parts", train=12, good=2, bad=2)
    for file in (folder / "train/good/000.png", *(folder / "test").rglob("*.png")):
        file.write_bytes(b"torn")
        os.utime(file, (1_600_000_000, 1_600_000_000))
    with caplog.at_level("INFO", logger="flows"):
        ingest_images.fn(str(folder), "parts")
    assert "5 findings, shown on" in caplog.text
    assert "broken: " in caplog.text
    assert "000.png" in caplog.text


def test_files_that_a_camera_may_still_be_writing_are_left_for_the_next_run(
    tmp_path: Path, uad_home: Path
) -> None:
    folder = write_mvtec(tmp_path / "parts", train=12, good=2, bad=2)
    for file in folder.rglob("*.png"):
        os.utime(file, (1_600_000_000, 1_600_000_000))
    late = folder / "train/good/000.png"
    os.utime(late)
    first = read_version(ingest_images.fn(str(folder), "parts", settle_seconds=600))
    os.utime(late, (1_600_000_000, 1_600_000_000))
    second = read_version(ingest_images.fn(str(folder), "parts", settle_seconds=600))
    assert (first.counts["normal"], second.counts["normal"]) == (11, 12)


@pytest.mark.parametrize(
    "entrypoint",
    ["flows.retrain.retrain", "flows.watch.watch", "flows.drift.drift", "flows.fleet.fleet_flow"],
)
def test_deployments_that_were_made_earlier_still_find_their_flow(entrypoint: str) -> None:
    """Prefect keeps the flow's module and name, and the parameters, of each deployment."""
    flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    taken = set(inspect.signature(flow.fn).parameters)
    kept = {
        "flows.retrain.retrain": {
            "data", "product", "teacher", "config", "device", "promote", "rule", "skip_unchanged",
            "recent", "wait_hours", "settle_seconds", "reason",
        },
        "flows.watch.watch": {"product", "data", "settled_seconds"},
        "flows.drift.drift": {"product", "hours", "level", "now"},
        "flows.fleet.fleet_flow": {"products", "skip_unchanged", "side_by_side"},
    }  # fmt: skip
    assert kept[entrypoint] <= taken


def test_the_watch_announces_nothing_that_the_run_it_begins_would_leave() -> None:
    for settle, quiet in ((0.0, 30.0), (90.0, 90.0)):
        parameters = watch_deployment("parts", "camera", 60, settle).parameters
        assert parameters["settled_seconds"] == quiet


def test_a_training_without_suspects_is_another_training_and_names_them(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "parts", train=24, good=2, bad=2)
    cv2.imwrite(str(folder / "train/good/planted.png"), defective(3000)[0])
    dataset = ingest_images.fn(str(folder), "parts")
    plain = TrainingConfig.model_validate(QUICK)
    without = TrainingConfig.model_validate({**QUICK, "data": {"without_suspects": True}})
    inputs = training_inputs(dataset, "random", without)
    assert inputs.key != training_inputs(dataset, "random", plain).key
    bundle = train_bundle(inputs, "parts").path
    config = json.loads((bundle / "bundle.json").read_text())["config"]
    assert config["data"]["exclude"] == ["train/good/planted.png"]
