import hashlib
from pathlib import Path

import numpy as np
import pytest

from uad.data import load_dataset, make_demo_images
from uad.images import read, read_mask

SMALL = {"size": 96, "train": 6, "test_good": 2, "per_defect": 2}


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*.png")
    }


def test_demo_images_are_two_sound_datasets_with_three_kinds_of_defects(tmp_path: Path) -> None:
    folders = make_demo_images(tmp_path, **SMALL)
    assert [folder.name for folder in folders] == ["fabric", "gear"]
    for folder in folders:
        dataset = load_dataset(folder)
        assert not dataset.problems
        assert len(dataset.normals) == 6
        assert dataset.counts["test_normal"] == 2
        assert dataset.counts["masks"] == dataset.counts["test_anomalous"] == 6
        assert len({sample.defect for sample in dataset.test}) == 4


def test_the_same_seed_gives_the_same_images_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_demo_images(tmp_path / name, seed=seed, **SMALL)
    first = fingerprint(tmp_path / "a")
    assert first == fingerprint(tmp_path / "b")
    other = fingerprint(tmp_path / "c")
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


@pytest.mark.parametrize("category", ["fabric", "gear"])
def test_defects_are_where_the_masks_say_and_nowhere_else(category: str) -> None:
    from uad.data.demo import fabric, gear

    module = {"fabric": fabric, "gear": gear}[category]
    for defect in module.DEFECTS:
        for seed in range(4):
            scene, mask = module.make(np.random.default_rng(seed), 128, defect)
            area = (mask > 0).mean()
            assert 0.001 < area < 0.2, (defect, seed)
            assert scene.shape == (128, 128, 3)


def test_good_images_vary_but_belong_together(tmp_path: Path) -> None:
    for folder in make_demo_images(tmp_path, **SMALL):
        images = [read(file).astype(float) for file in sorted((folder / "train/good").iterdir())]
        means = [image.mean() for image in images]
        assert max(means) - min(means) < 40
        assert np.abs(images[0] - images[1]).mean() > 2


def test_masks_fit_their_images(tmp_path: Path) -> None:
    folder = make_demo_images(tmp_path, **SMALL)[1]
    for mask in (folder / "ground_truth").rglob("*_mask.png"):
        assert read_mask(mask, (96, 96)).any()
