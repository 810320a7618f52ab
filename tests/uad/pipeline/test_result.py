import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from uad.errors import ConfigError
from uad.pipeline import Pipeline, Result

Picture = NDArray[np.uint8]


@pytest.fixture
def result(pipeline: Pipeline, folder: Path) -> Result:
    (found,) = pipeline.predict(folder / "grün.bmp", threshold=0.0)
    return found


def test_a_result_is_a_dict_and_its_json_is_plain(result: Result) -> None:
    assert isinstance(result, dict)
    plain = json.loads(json.dumps(result.json))
    assert plain["pred"] == result["pred"].tolist()
    assert plain["score"] == result["score"]
    assert set(plain) == set(result) - {"anomaly_map"}
    assert result.json["res"] == result.json


def test_print_leaves_out_the_pixels(result: Result, capsys: pytest.CaptureFixture[str]) -> None:
    result.print()
    printed = json.loads(capsys.readouterr().out)
    assert printed["pred"] == "..."
    assert printed["input_path"].endswith("grün.bmp")
    result.print(ensure_ascii=True, indent=1)
    assert "gr\\u00fcn" in capsys.readouterr().out
    result.print(format_json=False)
    assert capsys.readouterr().out.startswith("{'input_path'")


def test_regions_are_named_in_the_result_and_boxed_in_the_picture(
    pipeline: Pipeline, folder: Path
) -> None:
    (marked,) = pipeline.predict(folder / "x.png", threshold=0.0)
    (region,) = marked["regions"]
    assert region["box"] == [0, 0, *marked["pred"].shape[::-1]]
    assert region["score"] == marked["score"]
    assert marked["regions_omitted"] == 0
    (clean,) = pipeline.predict(folder / "x.png", threshold=1e9)
    assert clean["regions"] == []


def test_json_is_saved_into_a_folder_or_a_file(result: Result, tmp_path: Path) -> None:
    assert result.save_to_json(tmp_path / "out dir").name == "grün_res.json"
    named = result.save_to_json(str(tmp_path / "deep" / "a.json"), indent=2, ensure_ascii=True)
    assert named == tmp_path / "deep" / "a.json"
    assert json.loads(named.read_text("utf-8")) == result.json
    assert "gr\\u00fcn" in named.read_text("utf-8")


def test_a_picture_is_saved_in_the_kind_of_its_original(
    pipeline: Pipeline, folder: Path, tmp_path: Path
) -> None:
    names = [found.save_to_img(tmp_path / "out").name for found in pipeline.predict(folder)]
    assert names == ["b c_res.jpg", "grün_res.bmp", "x_res.png", "x-2_res.png", "z_res.webp"]
    for name in names:
        with PIL.Image.open(tmp_path / "out" / name) as saved:
            assert saved.size[0] > 1


def test_no_result_of_a_call_overwrites_another(
    pipeline: Pipeline, folder: Path, tmp_path: Path
) -> None:
    doubles = [folder / "x.png", folder / "sub" / "x.png", folder / "x.png"]
    for found in pipeline.predict(doubles):
        found.save_all(tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "x-2_res.json",
        "x-2_res.png",
        "x-3_res.json",
        "x-3_res.png",
        "x_res.json",
        "x_res.png",
    ]


def test_arrays_are_numbered(
    pipeline: Pipeline, picture: Callable[[int], Picture], tmp_path: Path
) -> None:
    saved = [found.save_to_img(tmp_path) for found in pipeline.predict([picture(0), picture(1)])]
    assert [file.name for file in saved] == ["image_res.png", "image-2_res.png"]


def test_the_picture_is_a_pillow_image_under_res(result: Result) -> None:
    assert isinstance(result.img["res"], PIL.Image.Image)
    assert result.img["res"].mode == "RGB"


def test_the_pillow_image_has_the_colours_of_the_saved_picture(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    orange = np.full((40, 60, 3), (0, 128, 255), np.uint8)  # BGR
    (found,) = pipeline.predict(orange)
    with PIL.Image.open(found.save_to_img(tmp_path / "saved.png")) as saved:
        assert np.array_equal(np.asarray(saved.convert("RGB")), np.asarray(found.img["res"]))


def test_the_mask_is_the_label_map_without_loss(result: Result, tmp_path: Path) -> None:
    file = result.save_to_img(tmp_path, mask_only=True)
    assert file.suffix == ".png"
    assert np.array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), result["pred"])
    assert np.array_equal(np.asarray(result.mask), result["pred"])


def test_without_a_place_to_save_the_error_says_what_is_missing(result: Result) -> None:
    with pytest.raises(ConfigError, match="save_to_img needs save_path"):
        result.save_to_img(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="save_to_json needs save_path"):
        result.save_to_json(None)  # type: ignore[arg-type]
