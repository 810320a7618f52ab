import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.images import defective, write_mvtec
from uad.cli import main
from uad.config import InputSpec, SplitConfig
from uad.data import load_dataset
from uad.models.teacher import load_teacher
from uad.training.suspects import Ranking, find_suspects
from uad.training.suspects.features import UnitFeatures
from uad.training.suspects.scoring import image_scores, patch_maps

SMALL = ["--teacher", "random", "--set", "model.width=8"]
SMALL += ["--set", "input.height=48", "--set", "input.width=64"]
PLANTED = ["train/good/planted 0.png", "train/good/planted 1.png"]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """24 good parts and, by mistake, two defective ones among them."""
    folder = write_mvtec(tmp_path / "mixed", train=24, good=2, bad=2)
    for index, name in enumerate(PLANTED):
        cv2.imwrite(str(folder / name), defective(3000 + index)[0])
    return folder


def rank(folder: Path) -> Ranking:
    teacher = load_teacher("random", width=8)
    return find_suspects(load_dataset(folder), teacher, InputSpec(height=48, width=64))


def names(ranking: Ranking) -> list[str]:
    return sorted(suspicion.sample.name for suspicion in ranking.suspects)


def features_of(patches: NDArray[np.float64]) -> UnitFeatures:
    """Of images of 2 x 2 patches, (N, 4, D)."""
    unit = patches / np.linalg.norm(patches, axis=2, keepdims=True)
    images = unit.mean(axis=1) / np.linalg.norm(unit.mean(axis=1), axis=1, keepdims=True)
    return UnitFeatures(images.astype(np.float32), unit.astype(np.float16), (2, 2))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_defects_among_the_good_images_are_the_suspects(mixed: Path) -> None:
    ranking = rank(mixed)
    assert names(ranking) == PLANTED
    assert len(ranking.images) == 26
    scores = [suspicion.score for suspicion in ranking.images]
    assert scores == sorted(scores, reverse=True)


def test_the_map_shows_where_an_image_is_unlike_the_others() -> None:
    rng = np.random.default_rng(0)
    patches = rng.normal(size=4 * 32).reshape(1, 4, 32) + 0.01 * rng.normal(size=(6, 4, 32))
    patches[2, 3] = rng.normal(size=32)
    maps = patch_maps(features_of(patches), [str(index) for index in range(6)])
    assert np.unravel_index(maps.argmax(), maps.shape) == (2, 1, 1)
    assert image_scores(maps).argmax() == 2


def test_a_ranking_is_kept_and_the_images_are_not_read_again(mixed: Path) -> None:
    dataset, teacher = load_dataset(mixed), load_teacher("random", width=8)
    spec = InputSpec(height=48, width=64)
    first = find_suspects(dataset, teacher, spec)
    for sample in dataset.normals:
        sample.path.unlink()
    again = find_suspects(dataset, teacher, spec)
    assert [s.sample for s in again.images] == [s.sample for s in first.images]
    assert again.limit == first.limit


def test_two_shots_of_one_defective_part_do_not_vouch_for_each_other() -> None:
    rng = np.random.default_rng(0)
    usual, odd = rng.normal(size=(2, 32))
    patches = np.array([usual] * 6 + [odd] * 2)[:, None] + 0.01 * rng.normal(size=(8, 4, 32))
    features = features_of(patches)
    alone = [str(index) for index in range(8)]
    shots = [*alone[:6], "the odd part", "the odd part"]
    scores = {key: image_scores(patch_maps(features, g, fellows=3)) for key, g in
              (("alone", alone), ("shots", shots))}  # fmt: skip
    assert scores["alone"].max() < 0.1
    assert scores["shots"][6:].min() > 0.5
    assert scores["shots"][:6].max() < 0.1


def test_excluded_images_are_used_for_nothing_and_named(mixed: Path) -> None:
    dataset = load_dataset(mixed, SplitConfig(exclude=(PLANTED[0], "no such image")))
    assert PLANTED[0] not in {sample.name for sample in (*dataset.normals, *dataset.test)}
    assert len(dataset.normals) == 25
    left_out = [problem.path.name for problem in dataset.problems if problem.kind == "excluded"]
    assert left_out == ["planted 0.png"]


def test_a_misspelt_name_of_an_excluded_image_is_said_before_the_training(
    mixed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = f"data.exclude=[{PLANTED[0]}, planted 1.png]"
    command = ["train", "--data", str(mixed), "--output", str(tmp_path / "bundle"), "--quick"]
    assert run(*command, *SMALL, "--set", names) == 0
    assert "data.exclude names planted 1.png, but there is no such good image" in caplog.text


def test_the_command_names_the_suspects_and_shows_them(
    mixed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    page = tmp_path / "suspects.html"
    assert run("suspects", str(mixed), *SMALL, "--report", str(page)) == 0
    captured = capsys.readouterr()
    for name in PLANTED:
        assert name in captured.out
    assert "--set 'data.exclude=[train/good/planted" in captured.err
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/jpeg") == 2 * (2 + 8)
    assert "://" not in html


def test_a_training_without_suspects_leaves_them_out_and_says_so(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--set", "training.epochs=1", "--set", "training.min_steps=1", "--set", "score={}"]
    quick += ["--set", "export.int8=off"]
    output = tmp_path / "bundle"
    command = ["train", "--data", str(mixed), "--output", str(output), *SMALL, *quick]
    assert run(*command, "--without-suspects") == 0
    assert "left out" in capsys.readouterr().out
    manifest = json.loads((output / "bundle.json").read_text())
    assert manifest["config"]["data"]["exclude"] == PLANTED
    assert sum(manifest["dataset"][use] for use in ("train", "selection", "calibration")) == 24
