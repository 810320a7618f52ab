"""Near-duplicates and outliers, which are kept and named."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from uad.data import make_demo_images
from uad.data.checks import scan
from uad.images import Image, read

Write = Callable[[str, Image], None]


def casting(seed: int, *, light: int = 128) -> Image:
    """The same mould, another surface: a pattern that all share and a texture of its own."""
    mould, own = (np.random.default_rng(each).normal(size=(48, 64, 3)) for each in (0, seed + 1))
    blurred = cv2.GaussianBlur(mould, (0, 0), 6) * 300 + cv2.GaussianBlur(own, (0, 0), 3) * 100
    return np.clip(light + blurred, 0, 255).astype(np.uint8)


@pytest.fixture
def castings(tmp_path: Path) -> Path:
    """20 good castings to train, 4 good and 4 cracked ones to test."""
    for index in range(28):
        kind = "train/good" if index < 20 else "test/good" if index < 24 else "test/cracked"
        file = tmp_path / "castings" / kind / f"{index:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), casting(index))
    return tmp_path / "castings"


@pytest.fixture
def write(castings: Path) -> Write:
    def save(name: str, image: Image) -> None:
        cv2.imwrite(str(castings / name), image)

    return save


def found(folder: Path) -> list[tuple[str, str]]:
    return sorted((problem.kind, problem.path.name) for problem in scan(folder).problems)


def test_unlike_images_of_one_line_are_not_taken_for_the_same(
    castings: Path, tmp_path: Path
) -> None:
    assert found(castings) == []
    for category in make_demo_images(tmp_path / "demo"):
        assert found(category) == []


@pytest.mark.parametrize("change", ["re-encoded", "smaller", "brighter", "noisier"])
def test_another_file_of_a_training_picture_in_test_is_named_with_its_twin(
    castings: Path, write: Write, change: str
) -> None:
    image = read(castings / "train/good/003.png")
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    changed = {
        "re-encoded": image,
        "smaller": cv2.resize(image, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA),
        "brighter": cv2.convertScaleAbs(image, alpha=1.05, beta=4),
        "noisier": np.clip(image + noise, 0, 255).astype(np.uint8),
    }[change]
    write("test/good/other.jpg", np.asarray(changed, np.uint8))
    twins = [problem for problem in scan(castings).problems if problem.kind == "similar"]
    assert [problem.path.name for problem in twins] == ["other.jpg"]
    assert twins[0].other == castings / "train/good/003.png"
    assert "nearly the same picture as train/good/003.png" in twins[0].message


def test_one_copy_among_the_good_images_is_no_matter(castings: Path, write: Write) -> None:
    write("train/good/other.jpg", read(castings / "train/good/003.png"))
    assert found(castings) == []


def test_good_images_that_are_saved_twice_are_counted_because_they_lower_the_threshold(
    castings: Path, write: Write
) -> None:
    for file in sorted((castings / "train/good").iterdir()):
        write(f"train/good/{file.stem}.jpg", read(file))
    (problem,) = scan(castings).problems
    assert problem.kind == "copy"
    assert f"{len(list((castings / 'train/good').glob('*.png')))} good images" in problem.message
    assert problem.other is not None
    assert problem.other.stem == problem.path.stem


def test_an_image_of_another_size_is_named(castings: Path, write: Write) -> None:
    write("train/good/large.png", cv2.resize(casting(99), (96, 48)))
    assert found(castings) == [("size", "large.png")]


def test_an_image_taken_with_the_lamp_off_is_named(castings: Path, write: Write) -> None:
    write("train/good/night.png", np.asarray(casting(99) // 8, np.uint8))
    assert found(castings) == [("brightness", "night.png")]


def test_a_dark_defect_is_no_outlier(castings: Path, write: Write) -> None:
    dark = np.asarray(casting(99) // 8, np.uint8)
    write("test/cracked/dark.png", dark)
    assert found(castings) == []


def test_a_file_with_several_pictures_is_named_because_only_the_first_is_used(
    castings: Path,
) -> None:
    pages = [PIL.Image.fromarray(casting(seed)[:, :, ::-1]) for seed in (97, 98)]
    pages[0].save(castings / "train/good/stack.tif", save_all=True, append_images=pages[1:])
    pages[1].save(castings / "train/good/one page.tif")
    assert found(castings) == [("frames", "stack.tif")]


@pytest.mark.parametrize(
    ("orientation", "shape", "is_said"), [(1, (48, 48), 0), (6, (48, 48), 1), (3, (48, 96), 1)]
)
def test_a_mask_that_fits_an_image_turned_by_exif_either_way_is_said(
    castings: Path, orientation: int, shape: tuple[int, int], is_said: int
) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture = cv2.resize(casting(99), shape[::-1])
    for folder in ("test/bent", "ground_truth/bent"):
        (castings / folder).mkdir(parents=True)
    PIL.Image.fromarray(picture).save(castings / "test/bent/0.png", exif=exif)
    mask = np.zeros(shape, np.uint8)
    mask[:9, :9] = 255
    cv2.imwrite(str(castings / "ground_truth/bent/0_mask.png"), mask)
    told = [p.message for p in scan(castings).problems if p.kind == "mask"]
    assert len(told) == is_said
    assert all("are turned by their EXIF mark" in message for message in told)
