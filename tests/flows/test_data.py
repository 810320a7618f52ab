"""What the flows' first tasks do with the images; no Prefect server is needed for a task's body."""

import json
from pathlib import Path

import cv2

from flows.finetune import finetune, training_id
from flows.ingest import ingest_images
from tests.flows.conftest import TINY
from tests.images import defective, write_mvtec
from uad.config import TrainingConfig

QUICK = {**TINY, "training": {"epochs": 1, "min_steps": 1}, "score": {}}


def test_an_ingest_writes_the_page_of_what_it_found(tmp_path: Path, uad_home: Path) -> None:
    folder = write_mvtec(tmp_path / "parts", train=12, good=2, bad=2)
    _, _, version = ingest_images.fn(str(folder), "parts").partition("@")
    assert (uad_home / f"reports/parts/data-{version}.html").is_file()


def test_a_training_without_suspects_is_another_training_and_names_them(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "parts", train=24, good=2, bad=2)
    cv2.imwrite(str(folder / "train/good/planted.png"), defective(3000)[0])
    dataset = ingest_images.fn(str(folder), "parts")
    plain = TrainingConfig.model_validate(QUICK)
    without = TrainingConfig.model_validate({**QUICK, "data": {"without_suspects": True}})
    assert training_id(dataset, "random", plain) != training_id(dataset, "random", without)
    bundle = Path(finetune.fn(dataset, "parts", "random", without))
    config = json.loads((bundle / "bundle.json").read_text())["config"]
    assert config["data"]["exclude"] == ["train/good/planted.png"]
