"""What the options, lists and files around the images of a folder do."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.uad.data.conftest import run
from uad.data import FolderRoles, load_dataset, load_test_set
from uad.data.checks import scan
from uad.data.layouts import find
from uad.data.listing import FolderUse, together
from uad.errors import DataError

Draw = Callable[..., Path]


@pytest.fixture
def unclear(tmp_path: Path, draw: Draw) -> Path:
    """Six pictures in `negative`, two in `positive`."""
    for index in range(6):
        draw(f"lids/negative/{index}.png", seed=index)
    for index in range(2):
        draw(f"lids/positive/{index}.png", seed=50 + index)
    return tmp_path / "lids"


def told(path: Path, kind: str) -> list[str]:
    return [problem.message for problem in scan(path).problems if problem.kind == kind]


@pytest.mark.parametrize(
    "command",
    [
        "train --data DATA --output out",
        "retrain --data DATA --name lid",
        "deploy --data DATA --name lid --interval 60",
        "suspects DATA",
        "ingest DATA --name lid",
    ],
)
def test_every_command_refuses_the_same_folder_with_the_same_words(
    command: str, unclear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(*(str(unclear) if word == "DATA" else word for word in command.split())) == 1
    error = capsys.readouterr().err
    assert "negative: 6 not clear: good or defective?; positive: 2 not clear" in error
    assert "--normal DIR --defects DIR --masks DIR" in error


def test_settings_say_what_folders_hold_as_the_options_do(unclear: Path) -> None:
    from uad.config import SplitConfig

    split = SplitConfig(normal=("negative",), defects=("positive",))
    dataset = load_dataset(unclear, split)
    assert dataset.counts["test_anomalous"] == 2
    assert len(dataset.normals) == 6


def test_what_folders_hold_does_not_change_which_training_it_is(
    unclear: Path, tmp_path: Path
) -> None:
    from uad.config import SplitConfig, TrainingConfig
    from uad.models.teacher import load_teacher
    from uad.training import training_key

    said = SplitConfig(normal=("negative",), defects=("positive",))
    dataset = load_dataset(unclear, said)
    teacher = load_teacher("embedded", width=64, seed=0)
    keys = {training_key(dataset, TrainingConfig(data=s), teacher) for s in (said, SplitConfig())}
    assert len(keys) == 1


def test_a_role_names_a_folder_that_is_there(unclear: Path, tmp_path: Path, draw: Draw) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*lids/typo"):
        find(unclear, FolderRoles(normal=("typo",)))
    draw("elsewhere/x.png", seed=99)
    listing = find(
        unclear, FolderRoles(normal=("negative",), defects=(str(tmp_path / "elsewhere"),))
    )
    assert [image.defect for image in listing.images if image.split == "test"] == ["elsewhere"]
    assert [row.folder for row in listing.folders if row.unused] == ["positive"]


def test_masks_below_a_folder_of_good_images_never_train(
    unclear: Path, draw: Draw, draw_mask: Draw
) -> None:
    draw_mask("lids/negative/masks/0.png")
    draw_mask("lids/negative/1_mask.png")
    found = find(unclear, FolderRoles(normal=("negative",)))
    assert len(found.images) == 6


def test_a_list_of_the_images_is_written_corrected_and_ingested(
    unclear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lid.csv"
    assert run("ingest", str(unclear), "--name", "lid", "--write-manifest", str(file)) == 0
    assert f"uad ingest {file} --name lid" in capsys.readouterr().err.replace("\n", " ")
    text = file.read_text(encoding="utf-8")
    assert text.splitlines()[:2] == ["path,label,mask,split", "lids/negative/0.png,?,,"]
    assert run("ingest", str(file), "--name", "lid") == 1
    assert "line 2: the label is '?'" in capsys.readouterr().err
    good = text.replace("?", "good")
    lines = [line.replace("good", "bent") if "positive" in line else line for line in
             good.splitlines()]  # fmt: skip
    file.write_text("\n".join(lines), encoding="utf-8")
    dataset = load_dataset(file)
    assert (len(dataset.normals), dataset.counts["test_anomalous"]) == (6, 2)
    assert run("ingest", str(unclear), "--name", "lid", "--write-manifest", str(file)) == 1
    assert "exists; remove it" in capsys.readouterr().err


def test_the_list_of_a_known_layout_gives_the_same_dataset(parts: Path, tmp_path: Path) -> None:
    file = tmp_path / "parts.csv"
    assert run("ingest", str(parts), "--write-manifest", str(file)) == 0
    assert load_dataset(file).counts == load_dataset(parts).counts


def test_windows_paths_in_lists_are_understood(tmp_path: Path, draw: Draw, draw_mask: Draw) -> None:
    for index in range(4):
        draw(f"set/images/{index}.png", seed=index)
        draw_mask(f"set/masks/{index}.png", value=255 if index == 3 else 0)
    lines = [rf"images\{index}.png masks\{index}.png" for index in range(4)]
    (tmp_path / "set/train.txt").write_text("\r\n".join(lines))
    dataset = load_dataset(tmp_path / "set")
    assert (len(dataset.normals), dataset.counts["test_anomalous"]) == (3, 1)
    rows = [rf"images\{index}.png,0" for index in range(4)]
    (tmp_path / "set/list.csv").write_text("\n".join(["path,label", *rows]))
    assert len(load_dataset(tmp_path / "set/list.csv").normals) == 4


def test_a_listed_mask_that_is_not_there_leaves_its_image_out(tmp_path: Path, draw: Draw) -> None:
    for index in range(4):
        draw(f"set/images/{index}.png", seed=index)
    lines = [f"images/{index}.png" for index in range(3)] + ["images/3.png masks/3.png"]
    (tmp_path / "set/train.txt").write_text("\n".join(lines))
    dataset = load_dataset(tmp_path / "set")
    assert len(dataset.normals) == 3
    assert "images/3.png is left out" in dataset.problems[0].message


def test_images_that_a_list_leaves_out_are_named(
    tmp_path: Path, draw: Draw, draw_mask: Draw
) -> None:
    for index in range(5):
        draw(f"set/images/{index}.png", seed=index)
        draw_mask(f"set/masks/{index}.png", value=0)
    lines = [f"images/{index}.png masks/{index}.png" for index in range(4)]
    (tmp_path / "set/train.txt").write_text("\n".join(lines))
    assert told(tmp_path / "set", "unused") == [
        "1 picture in images is used for nothing: the list does not name them",
        "1 picture in masks is used for nothing: the list does not name them",
    ]


def test_a_list_with_class_numbers_is_refused(tmp_path: Path, draw: Draw) -> None:
    draw("set/images/0.png", seed=1)
    (tmp_path / "set/train.txt").write_text("images/0.png 1\n")
    with pytest.raises(DataError, match=r"a line must be an image and its mask.*manifest.csv"):
        find(tmp_path / "set")


def test_a_manifest_row_with_a_mask_alone_is_labelled_by_it(
    tmp_path: Path, draw: Draw, draw_mask: Draw
) -> None:
    rows = ["path,mask"]
    for index in range(4):
        draw(f"set/{index}.png", seed=index)
        draw_mask(f"set/m/{index}.png", value=255 if index == 3 else 0)
        rows.append(f"{index}.png,m/{index}.png")
    (tmp_path / "set/manifest.csv").write_text("\n".join(rows))
    dataset = load_dataset(tmp_path / "set")
    assert (len(dataset.normals), dataset.counts["test_anomalous"]) == (3, 1)


def test_a_labels_file_beside_unclear_images_is_named(unclear: Path) -> None:
    (unclear / "labels.csv").write_text("filename,label\nnegative/0.png,good\n")
    with pytest.raises(DataError, match=r"name .*labels.csv, which labels pictures"):
        find(unclear)


def test_files_of_the_future_are_taken_and_said_once(tmp_path: Path, draw: Draw) -> None:
    ahead = time.time() + 3600
    for index in range(4):
        os.utime(draw(f"set/{index}.png", seed=index), (ahead, ahead))
    found = scan(tmp_path / "set", settle_seconds=60)
    assert len(found.entries) == 4
    assert [p.message[:40] for p in found.problems] == ["4 files have a time in the future, such "]


def test_a_named_pipe_and_formats_that_are_not_read_are_named(tmp_path: Path, draw: Draw) -> None:
    for index in range(3):
        draw(f"set/{index}.png", seed=index)
    os.mkfifo(tmp_path / "set/pipe.png")
    (tmp_path / "set/photo.HEIC").write_bytes(b"")
    (tmp_path / "set/notes.txt").write_text("no picture")
    (message,) = told(tmp_path / "set", "folders")
    assert message.startswith("1 .heic, 1 .png cannot be read as images and are ignored")


def test_a_mask_that_marks_most_of_its_picture_is_named(parts: Path) -> None:
    inverted = np.full((32, 40), 255, np.uint8)
    inverted[4:12, 4:12] = 0
    file = parts / "ground_truth/cracked/000_mask.png"
    file.write_bytes(cv2.imencode(".png", inverted)[1].tobytes())
    (message,) = told(parts, "mask")
    assert "test/cracked/000.png marks more than half of the picture" in message


def test_a_good_image_whose_mask_marks_a_defect_does_not_train(
    parts: Path, draw_mask: Draw
) -> None:
    draw_mask("parts/ground_truth/good/000_mask.png")
    (parts / "test/good/000.png").unlink()
    (message,) = told(parts, "mask")
    assert "marks a defect; train/good/000.png is left out" in message
    assert len(load_dataset(parts).normals) == 11


def test_several_masks_of_one_image_are_put_together(parts: Path, draw_mask: Draw) -> None:
    (parts / "ground_truth/cracked/000_mask.png").unlink()
    draw_mask("parts/ground_truth/cracked/000/000.png")
    second = np.zeros((32, 40), np.uint8)
    second[20:28, 20:28] = 255
    file = parts / "ground_truth/cracked/000/001.png"
    file.write_bytes(cv2.imencode(".png", second)[1].tobytes())
    sample = next(s for s in load_dataset(parts).test if s.name == "test/cracked/000.png")
    assert sample.mask is not None
    assert (np.asarray(Image.open(sample.mask)) > 0).sum() == 128


def test_neighbouring_folders_of_unknown_names_are_used_and_said(
    tmp_path: Path, draw: Draw
) -> None:
    for seed, name in enumerate(("alpha/0", "alpha/1", "beta/0", "beta/1")):
        draw(f"set/{name}.png", seed=seed)
    (message,) = told(tmp_path / "set", "folders")
    assert "alpha, beta of this folder are all taken for good images" in message
    assert "--defects alpha" in message


def test_pictures_that_predict_wrote_into_the_folder_do_not_train(
    tmp_path: Path, draw: Draw
) -> None:
    for index in range(4):
        draw(f"set/{index}.png", seed=index)
        draw(f"set/{index}_res.png", seed=10 + index)
    assert len(load_dataset(tmp_path / "set").normals) == 4
    assert told(tmp_path / "set", "unused")[0].startswith("4 pictures in . are used for nothing")


def test_many_folders_of_one_use_are_told_together() -> None:
    rows = [FolderUse(f"{day}/{shift}", 2, "good") for day in range(30) for shift in "ab"]
    rows.append(FolderUse("masks", 3, "masks"))
    assert together(rows, 20) == [FolderUse("*", 120, "good"), FolderUse("*", 3, "masks")]
    assert together(rows[:3], 20) == rows[:3]


def test_silhouettes_before_a_lamp_are_no_masks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for index in range(6):
        picture = np.full((64, 64), 255, np.uint8)
        picture[16:48, 10 + index : 40] = 0
        if index % 2:  # some noise at the edge, and in the part
            picture[10:54, 38:44] = rng.integers(0, 255, (44, 6))
            picture[20:30, 20:30] = rng.integers(5, 40, (10, 10))
        cv2.imwrite(str(tmp_path / f"set/{index}.png"), picture)
    found = scan(tmp_path / "set")
    assert len(found.entries) == 6
    assert {problem.kind for problem in found.problems} == {"flat"}


def test_a_table_whose_cells_say_defect_stops_images_from_being_taken_for_good(
    tmp_path: Path, draw: Draw
) -> None:
    for index in range(6):
        draw(f"set/{index}.png", seed=index)
    rows = [f"{index}.png;{'NOK' if index > 3 else 'OK'}" for index in range(6)]
    (tmp_path / "set/shift.csv").write_text("\n".join(["file;lamp 3", *rows]))
    with pytest.raises(DataError, match=r"shift.csv says what pictures show"):
        find(tmp_path / "set")
    (tmp_path / "set/shift.csv").write_text("\n".join(["file;lamp", *(r[:-1] for r in rows)]))
    assert len(find(tmp_path / "set").images) == 6


def test_a_folder_that_is_named_for_two_uses_is_refused(parts: Path) -> None:
    roles = FolderRoles(normal=("train/good", "test/good"), defects=("test/good",))
    with pytest.raises(DataError, match="test/good was named for two uses: good and defect"):
        find(parts, roles)


def test_a_folder_of_defects_alone_measures_a_detector_and_trains_none(
    tmp_path: Path, draw: Draw
) -> None:
    for index in range(3):
        draw(f"set/test/scratch/{index}.png", seed=index)
    assert load_test_set(tmp_path / "set").counts["test_anomalous"] == 3
    with pytest.raises(DataError, match=r"no normal image .* test/scratch: 3 defective"):
        load_dataset(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "0.png 0\n1.png 0\n2.png 1\n"),
        ("list.csv", "0.png,0\n1.png,0\n2.png,1\n"),
        ("labels.json", '{"0.png": "ok", "1.png": "ok", "2.png": "scratch"}'),
        ("labels.json", '{"0.png": {"faulty": 0}, "1.png": {"faulty": 0}, "2.png": {"faulty": 1}}'),
        ("all.jsonl", '{"file": "0.png", "label": 0}\n{"file": "2.png", "label": 1}\n'),
    ],
)
def test_labels_in_any_kind_of_table_stop_images_from_being_taken_for_good(
    tmp_path: Path, draw: Draw, name: str, text: str
) -> None:
    for index in range(3):
        draw(f"set/{index}.png", seed=index)
    (tmp_path / "set" / name).write_text(text)
    with pytest.raises(DataError, match=f"{name} says what pictures show"):
        find(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("camera.txt", "0.png 12.5 ms\n1.png 12.5 ms\n2.png 13.1 ms\n"),
        ("exposure.json", '{"0.png": 12.5, "1.png": 12.5, "2.png": 13.1}'),
        ("times.csv", "file,time\n0.png,11:02\n1.png,11:03\n2.png,11:03\n"),
        ("readme.txt", "Defects are in another folder.\n"),
        ("verdicts.csv", "file,p_value,verdict,model_version\n0.png,.05,anomalous,3\n"),
    ],
)
def test_a_table_of_other_facts_is_no_matter(
    tmp_path: Path, draw: Draw, name: str, text: str
) -> None:
    for index in range(3):
        draw(f"set/{index}.png", seed=index)
    (tmp_path / "set" / name).write_text(text)
    assert len(find(tmp_path / "set").images) == 3
