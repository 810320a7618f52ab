"""Forty folders as people and tools lay them out: what `uad ingest` makes of each.

Each is drawn with images whose kind is known; whatever is done with a folder, no defect and no mask
may be among the images to train on.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.uad.data.conftest import run
from uad.data.versions import read_version

Draw = Callable[[Path, int], None]

G, D, M = "good", "defect", "mask"


def draw(kind: str, file: Path, seed: int) -> None:
    """A file of one kind: a noisy picture, one with a spot, or a mask of that spot."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    picture = rng.integers(60, 190, (24, 32, 3), np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    if kind in (D, M):
        cv2.circle(mask, (16, 12), 4, 255, -1)
        picture[mask > 0] = 250
    pixels = mask if kind in (M, "empty mask") else picture
    file.write_bytes(cv2.imencode(file.suffix.lower(), pixels)[1].tobytes())


TEXTS = {
    "text": "1\n",
    "yolo": "0 0.5 0.5 0.1 0.1\n",
    "table": "ImageId,ClassId\nx0.jpg,3\nx1.jpg,1\n",
}


@dataclass(frozen=True)
class Case:
    """A folder, and what is right."""

    files: str
    """`kind pattern count` a line; `{}` in the pattern is the number."""
    table: str = ""
    """What the table says of folders, `folder: use` a line; empty for a folder that is refused."""
    refusal: str = ""
    """What the refusal says of folders."""
    options: str = ""
    train: int = 6
    test: int = 0
    masks: int = 0


CASES = {
    # Honest folders of good images pass as they are.
    "flat": Case("good {}.png 6", ".: good, for training"),
    "by day": Case("good 2024-05-01/{}.png 3; good 2024-05-02/{}.png 3", "2024-05-01: good"),
    "by camera and shift": Case(
        "good cam 1/early/{}.jpg 3; good cam 2/late/{}.jpg 3", "cam 1/early: good"
    ),
    "unknown names": Case("good alpha/{}.png 3; good beta/{}.png 3", "alpha: good"),
    "train flat": Case(
        "good train/{}.png 6; defect test/crack/{}.png 2", "test/crack: defective (crack)", test=2
    ),
    # Public data sets and other tools.
    "MVTec AD": Case(
        "good train/good/{}.png 6; good test/good/{}.png 2; defect test/Blot/{}.png 2; "
        "mask ground_truth/blot/{}_mask.png 2",
        "ground_truth/blot: masks; test/Blot: defective (Blot); test/good: good, for testing",
        test=4,
        masks=2,
    ),
    "MVTec AD 2": Case(
        "good train/good/{}_regular.png 4; good validation/good/{}_regular.png 2; "
        "good test_public/good/{}_regular.png 2; defect test_public/bad/{}_regular.png 2; "
        "mask test_public/ground_truth/bad/{}_regular_mask.png 2; defect test_private/{}.png 2",
        "validation/good: good, for training; test_private: used for nothing; "
        "test_public/ground_truth/bad: masks",
        test=4,
        masks=2,
    ),
    "MVTec LOCO": Case(
        "good train/good/{}.png 4; good validation/good/{}.png 2; good test/good/{}.png 1; "
        "defect test/logical_anomalies/00{}.png 2; defect test/structural_anomalies/00{}.png 2; "
        "mask ground_truth/logical_anomalies/000/00{}.png 2; "
        "mask ground_truth/logical_anomalies/001/00{}.png 1; "
        "mask ground_truth/structural_anomalies/001/00{}.png 1",
        "ground_truth/logical_anomalies/000: masks",
        test=5,
        masks=3,
    ),
    "MVTec 3D": Case(
        "good train/good/rgb/{}.png 6; good train/good/xyz/{}.tiff 6; "
        "defect test/hole/rgb/{}.png 2; mask test/hole/gt/{}.png 2",
        "train/good/xyz: used for nothing: made from other pictures, or by another sensor",
        test=2,
        masks=2,
    ),
    "VisA": Case(
        "good Data/Images/Normal/{}.JPG 6; defect Data/Images/Anomaly/{}.JPG 2; "
        "mask Data/Masks/Anomaly/{}.png 2",
        "Data/Images/Anomaly: defective (Anomaly); Data/Masks/Anomaly: masks",
        test=2,
        masks=2,
    ),
    "BTAD": Case(
        "good train/ok/{}.bmp 6; good test/ok/{}.bmp 2; defect test/ko/{}.bmp 2; "
        "mask ground_truth/ko/{}.png 2",
        "test/ko: defective (ko)",
        test=4,
        masks=2,
    ),
    "KolektorSDD": Case(
        "good kos01/Part{}.jpg 6; empty kos01/Part{}_label.bmp 6; defect kos02/Part{}.jpg 2; "
        "mask kos02/Part{}_label.bmp 2",
        "kos01: good or defective, as each mask says; kos01: masks",
        test=2,
        masks=2,
    ),
    "KolektorSDD2": Case(
        "good train/1000{}.png 6; empty train/1000{}_GT.png 6; defect test/2000{}.png 2; "
        "mask test/2000{}_GT.png 2",
        "train: masks; test: good or defective, as each mask says",
        test=2,
        masks=2,
    ),
    "DAGM": Case(
        "good Train/000{}.PNG 6; defect Train/001{}.PNG 2; mask Train/Label/001{}_label.PNG 2; "
        "good Test/000{}.PNG 2; defect Test/001{}.PNG 2; mask Test/Label/001{}_label.PNG 2; "
        "text Train/Label/Labels.txt 1; text Test/Label/Labels.txt 1",
        "Train/Label: masks; Test: good, for testing",
        test=6,
        masks=4,
    ),
    "Magnetic tile": Case(
        "good MT_Free/Imgs/a{}.jpg 6; empty MT_Free/Imgs/a{}.png 6; "
        "defect MT_Blowhole/Imgs/b{}.jpg 2; mask MT_Blowhole/Imgs/b{}.png 2",
        "MT_Blowhole/Imgs: masks; MT_Free/Imgs: good or defective, as each mask says",
        test=2,
        masks=2,
    ),
    "Real-IAD": Case(
        "good OK/S000{}/a.jpg 6; defect NG/AK/S000{}/b.jpg 2; mask NG/AK/S000{}/b.png 2",
        "NG/AK/S0000: defective (AK); NG/AK/S0000: masks",
        test=2,
        masks=2,
    ),
    "anomalib folder": Case(
        "good normal_dir/{}.png 6; defect abnormal_dir/{}.png 2; mask mask_dir/{}.png 2",
        "abnormal_dir: defective (abnormal_dir); mask_dir: masks",
        test=2,
        masks=2,
    ),
    "anomalib toy": Case(
        "good good/{}.png 6; defect crack/{}.png 2; mask mask/crack/{}.png 2",
        "crack: defective (crack); mask/crack: masks",
        test=2,
        masks=2,
    ),
    "casting": Case(
        "good train/ok_front/{}.jpeg 6; defect train/def_front/{}.jpeg 2; "
        "good test/ok_front/1{}.jpeg 2; defect test/def_front/1{}.jpeg 2",
        "train/def_front: defective (def_front)",
        test=6,
    ),
    "PaddleSeg": Case(
        "good images/{}.jpg 6; empty labels/{}.png 6; defect images/x{}.jpg 2; "
        "mask labels/x{}.png 2",
        "labels: masks; images: good or defective, as each mask says",
        test=2,
        masks=2,
    ),
    # Words for good, bad and mask.
    "English": Case(
        "good good_parts/{}.png 6; defect bad_parts/{}.png 2", "bad_parts: defective", test=2
    ),
    "German": Case("good Gutteile/{}.png 6; defect n.i.O./{}.png 2", "n.i.O.: defect", test=2),
    "French": Case("good conforme/{}.png 6; defect Défauts/{}.png 2", "Défauts: def", test=2),
    "Spanish": Case("good buenos/{}.png 6; defect malos/{}.png 2", "malos: def", test=2),
    "Polish": Case("good dobre/{}.png 6; defect złe/{}.png 2", "złe: defective", test=2),
    "Turkish": Case(
        "good iyi/{}.png 6; defect hatal\u0131/{}.png 2", "hatal\u0131: defective", test=2
    ),
    "Russian": Case(
        "good годные/{}.png 6; defect брак/{}.png 2; mask маски/{}.png 2",
        "брак: defective; маски: masks",
        test=2,
        masks=2,
    ),
    "Chinese": Case("good 良品/{}.png 6; defect 不良品/{}.png 2", "不良品: defective", test=2),
    "Japanese": Case("good 正常/{}.png 6; defect 異常/{}.png 2", "異常: defective", test=2),
    "Korean": Case("good 정상/{}.png 6; defect 비정상/{}.png 2", "비정상: defective", test=2),
    "classes below lots": Case(
        "good lot 1/OK/{}.png 3; defect lot 1/NG/{}.png 2; good lot 2/OK/1{}.png 3; "
        "defect lot 2/NG/1{}.png 1",
        "lot 1/NG: defective (NG); lot 2/OK: good, for training",
        test=3,
    ),
    "classes in file names": Case(
        "good OK_{}.png 6; defect NG_{}.png 2", ".: defective (defect), for testing", test=2
    ),
    # Masks that lie anywhere.
    "mask/kind beside NG/kind": Case(
        "good OK/{}.png 6; defect NG/kratzer/{}.png 2; defect NG/delle/{}.png 2; "
        "mask mask/kratzer/{}.png 2; mask mask/delle/{}.png 2",
        "NG/kratzer: defective (kratzer); mask/delle: masks",
        test=4,
        masks=4,
    ),
    "flat ground_truth": Case(
        "good train/good/{}.png 6; defect test/crack/{}.png 2; mask ground_truth/{}_mask.png 2",
        "ground_truth: masks",
        test=2,
        masks=2,
    ),
    "masks beside the pictures": Case(
        "good train/good/{}.png 6; defect test/crack/{}.png 2; mask test/crack/{}_mask.png 2",
        "test/crack: masks; test/crack: defective (crack)",
        test=2,
        masks=2,
    ),
    "test/ground_truth": Case(
        "good train/good/{}.png 6; defect test/crack/{}.png 2; mask test/ground_truth/{}.png 3",
        "test/ground_truth: used for nothing: masks without a picture",
        test=2,
        masks=2,
    ),
    "no masks for a flat test": Case(
        "good train/{}.png 6; defect test/{}.png 2", "test: used for nothing"
    ),
    # What is not clear is refused, until somebody says what it is.
    "positive and negative": Case(
        "good negative/{}.png 6; defect positive/{}.png 2",
        refusal="negative: 6 not clear: good or defective?; positive: 2 not clear",
    ),
    "positive and negative, said": Case(
        "good negative/{}.png 6; defect positive/{}.png 2",
        "negative: good, for training; positive: defective (positive), for testing",
        options="--normal negative --defects positive",
        test=2,
    ),
    "numbered classes": Case(
        "good 0/{}.png 6; defect 1/{}.png 2", refusal="0: 6 not clear: good or defective?"
    ),
    "named classes": Case(
        "good class_a/{}.png 6; defect class_b/{}.png 2", refusal="class_b: 2 not clear"
    ),
    "images and few labels": Case(
        "good images/{}.jpg 6; defect images/x{}.jpg 2; mask labels/x{}.png 2",
        refusal="images: 8 not clear: good or defective?; labels: 2 masks",
    ),
    "masks of other names": Case(
        "good img/{}.jpg 6; defect img/x{}.jpg 2; mask gt/no{}.png 2",
        refusal="gt: 2 used for nothing: masks without a picture; img: 8 not clear",
    ),
    "masks of unknown names": Case(
        "good a/{}.jpg 6; defect a/x{}.jpg 2; mask b/x{}.png 2",
        refusal="a: 8 not clear: good or defective?; b: 2 masks",
    ),
    "masks of unknown names, said": Case(
        "good a/{}.jpg 6; defect c/x{}.jpg 2; mask b/x{}.png 2",
        "a: good, for training; b: masks; c: defective (c), for testing",
        options="--normal a --defects c --masks b",
        test=2,
        masks=2,
    ),
    "good images beside a folder of bad ones": Case(
        "good {}.png 6; defect bad/{}.png 2",
        refusal=".: 6 not clear: good or defective?; bad: 2 defective (bad)",
    ),
    "good images beside a folder of bad ones, said": Case(
        "good {}.png 6; defect bad/{}.png 2",
        ".: good, for training; bad: defective (bad)",
        options="--normal . --defects bad",
        test=2,
    ),
    "defects alone": Case(
        "defect crazing/{}.jpg 2; defect inclusion/{}.jpg 2",
        refusal="crazing: 2 defective (crazing), for testing",
    ),
    "some file names": Case(
        "good part_{}.png 6; defect scratch_{}.png 2", refusal=".: 6 not clear; .: 2 defective"
    ),
    "boxes": Case(
        "good train/{}.jpg 6; defect train/x{}.jpg 2; yolo train/x{}.txt 2",
        refusal="train: 2 not clear: good or defective?",
    ),
    "a table of labels": Case(
        "good train_images/{}.jpg 6; defect train_images/x{}.jpg 2; table train.csv 1",
        refusal="train_images: 2 not clear: good or defective?",
    ),
    "unsorted images beside good ones": Case(
        "good good/{}.png 6; defect to check/{}.png 2; good 2024-05-01/{}.png 2",
        "to check: used for nothing; 2024-05-01: used for nothing",
    ),
    "pictures of predict": Case(
        "good {}.png 6; defect out/{}_res.jpg 6", "out: used for nothing: made from other pictures"
    ),
    "names that are identifiers": Case(
        "good {}bad5f00-ba1d-bad1-9def-0123456789ab.png 6", ".: good, for training"
    ),
    "Chinese splits": Case(
        "good 训练/良品/{}.png 6; good 测试/良品/{}.png 2; defect 测试/划痕/{}.png 2",
        "测试/划痕: defective",
        test=4,
    ),
    "all file names say bad": Case("defect NG_{}.png 6", refusal=".: 6 defective (defect)"),
    "several datasets": Case(
        "good bottle/good/{}.png 3; defect bottle/crack/{}.png 1; good cable/good/{}.png 3",
        refusal="holds 2 datasets",
    ),
}


def build(root: Path, files: str) -> dict[str, str]:
    """Draw a folder; returns the kind of each file by its name below `root`."""
    kinds = {}
    for index, line in enumerate(files.split("; ")):
        kind, rest = line.split(" ", 1)
        pattern, count = rest.rsplit(" ", 1)
        for number in range(int(count)):
            file = root / pattern.format(number)
            if kind in TEXTS:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(TEXTS[kind])
            else:
                draw("empty mask" if kind == "empty" else kind, file, 1000 * index + number)
            kinds[file.relative_to(root).as_posix()] = M if kind == "empty" else kind
    return kinds


@pytest.mark.parametrize("name", CASES)
def test_a_folder_of_odd_shape_is_read_rightly_or_refused_and_the_table_tells(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    case, root = CASES[name], tmp_path / "photos"
    kinds = build(root, case.files)
    code = run("ingest", str(root), "--name", "odd", *case.options.split())
    captured = capsys.readouterr()
    if not case.table:
        assert code == 1
        for told in case.refusal.split("; "):
            assert told in captured.err
        return
    assert code == 0, captured.err
    version = read_version("odd")
    trained = Counter(kinds[i.name] for i in version.images if i.split == "train")
    tested = [image for image in version.images if image.split == "test"]
    assert trained == {G: case.train}
    assert len(tested) == case.test
    assert all((kinds[image.name] == D) == bool(image.label) for image in tested)
    assert sum(image.mask is not None for image in tested) == case.masks
    for told in case.table.split("; "):
        folder, _, use = told.partition(": ")
        words = re.escape(use).replace(r"\ ", "[^a-z0-9(]+")
        row = rf"^\W*{re.escape(folder)}\W+\d+.*{words}"
        assert re.search(row, captured.out, re.MULTILINE), (told, captured.out)
