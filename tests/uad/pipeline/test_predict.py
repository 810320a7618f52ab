import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from uad.errors import (
    CalibrationError,
    ConfigError,
    DataError,
    ImageError,
    ServingError,
)
from uad.images import read
from uad.inference.detector import load_detector
from uad.pipeline import Pipeline
from uad.pipeline.inputs import download
from uad.scoring.maps import Outputs

Picture = NDArray[np.uint8]
Pictures = Callable[[int], Picture]
NAMES = ["b c.JPG", "grün.bmp", "sub/x.png", "x.png", "z.webp"]


def paths(results: Any) -> list[str]:
    return [result["input_path"] for result in results]


def test_a_result_has_the_verdict_at_the_pictures_own_size(
    pipeline: Pipeline, picture: Pictures, random_bundle: Callable[[int], Path]
) -> None:
    (result,) = pipeline.predict(picture(3))
    detector = load_detector(random_bundle(1))
    (expected,) = detector.detect([picture(3)])
    assert result["input_path"] is None
    assert result["pred"].shape == (43, 58)
    assert result["pred"].dtype == np.uint8
    assert set(np.unique(result["pred"])) <= {0, 255}
    assert result["score"] == expected.score == result["anomaly_map"].max()
    assert result["threshold"] == expected.threshold
    assert result["p_value"] == expected.p_value
    assert result["is_anomalous"] == (result["score"] > result["threshold"])
    assert result["model_version"] == detector.bundle.id


def test_nothing_is_read_before_it_is_asked_for(pipeline: Pipeline) -> None:
    results = pipeline.predict("missing.png")
    with pytest.raises(ImageError, match=r"missing\.png"):
        next(results)


def test_a_folder_is_read_with_its_subfolders_in_order(pipeline: Pipeline, folder: Path) -> None:
    assert paths(pipeline.predict(folder)) == [str(folder / name) for name in NAMES]
    assert paths(pipeline.predict(str(folder))) == [str(folder / name) for name in NAMES]


def test_pictures_that_an_earlier_run_saved_there_are_not_judged(
    pipeline: Pipeline, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwrite(str(folder / "y_res.png"), read(folder / "x.png"))  # of nothing: a photograph
    names = sorted([*NAMES, "y_res.png"])
    for result in pipeline.predict(folder):
        result.save_all(folder)
    assert paths(pipeline.predict(folder)) == [str(folder / name) for name in names]
    assert "6 pictures that an earlier run wrote are left out" in caplog.text


def test_a_file_with_several_pictures_is_said_because_only_the_first_is_judged(
    pipeline: Pipeline, tmp_path: Path, picture: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    pages = [PIL.Image.fromarray(picture(seed)[:, :, ::-1]) for seed in (1, 2)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    (result,) = pipeline.predict(tmp_path / "stack.tif")
    assert result["score"] == next(pipeline.predict(picture(1)))["score"]
    assert "stack.tif holds 2 pictures. Only the first is judged." in caplog.text


def test_all_kinds_of_input_mix_in_one_list(
    pipeline: Pipeline, folder: Path, picture: Pictures
) -> None:
    mixed = [picture(0), str(folder / "x.png"), {"img": folder / "b c.JPG"}, [folder / "sub"]]
    results = list(pipeline.predict({"input": mixed}, batch_size=3))
    assert paths(results) == [
        None,
        str(folder / "x.png"),
        str(folder / "b c.JPG"),
        str(folder / "sub" / "x.png"),
    ]
    assert results[0]["score"] == results[1]["score"]  # the same pixels, from memory and from disk


@pytest.mark.parametrize("batch_size", [2, 3, 5, 64])
def test_results_do_not_depend_on_the_batch_size(
    pipeline: Pipeline, folder: Path, batch_size: int
) -> None:
    single = list(pipeline.predict(folder))
    batched = list(pipeline.predict(folder, batch_size))
    assert paths(batched) == paths(single)
    for one, other in zip(single, batched, strict=True):
        np.testing.assert_allclose(one["anomaly_map"], other["anomaly_map"], rtol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_camera_may_fill_one_buffer_again_and_again(
    pipeline: Pipeline, picture: Pictures, batch_size: int
) -> None:
    frames = [cv2.resize(picture(seed), (48, 48)) for seed in range(3)]
    buffer = np.empty((48, 48, 3), np.uint8)

    def filled() -> Iterator[Picture]:
        for frame in frames:
            buffer[:] = frame
            yield buffer

    found = list(pipeline.predict(filled(), batch_size=batch_size))
    own = list(pipeline.predict(frames, batch_size=batch_size))
    assert [each["score"] for each in found] == [each["score"] for each in own]
    drawn = [[np.asarray(each.img["res"]) for each in results] for results in (found, own)]
    assert all(np.array_equal(one, other) for one, other in zip(*drawn, strict=True))


def test_a_smallest_defect_larger_than_the_picture_is_refused_since_nothing_could_raise_an_alarm(
    pipeline: Pipeline, picture: Pictures
) -> None:
    with pytest.raises(CalibrationError, match=r"min_area\) is 2495 pixels, .* 58 x 43 = 2494"):
        list(pipeline.predict(picture(3), min_area=2495))
    (whole,) = pipeline.predict(picture(3), min_area=2494)
    assert whole["min_area"] == 2494


def test_batches_reach_the_engine_as_batches(
    random_bundle: Callable[[int], Path], folder: Path
) -> None:
    from uad.hot_reload import ModelSlot, Served

    detector = load_detector(random_bundle(1))
    sizes = []

    class Engine:
        def __getattr__(self, name: str) -> Any:
            return getattr(detector.engine, name)

        def outputs(self, batch: Picture) -> Outputs:
            sizes.append(len(batch))
            return detector.engine.outputs(batch)

    detector.scorer.engine = Engine()  # type: ignore[assignment]
    list(Pipeline(ModelSlot(Served(detector, "1", "cookie"))).predict(folder, 2))
    assert sizes == [2, 2, 1]


def test_a_grey_array_is_the_picture_with_three_equal_channels(
    pipeline: Pipeline, picture: Pictures
) -> None:
    grey = picture(1)[:, :, 0]
    same = [grey, grey[:, :, None], np.repeat(grey[:, :, None], 3, axis=2)]
    same.append((grey.astype(np.uint16) << 8) + 77)  # type: ignore[arg-type]
    scores = {result["score"] for result in pipeline.predict(same)}
    assert len(scores) == 1


def test_an_array_with_alpha_is_read_as_its_file_would_be(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    array = np.random.default_rng(0).integers(0, 256, (40, 30, 4), np.uint8)
    cv2.imwrite(str(tmp_path / "alpha.png"), array)
    first, second = pipeline.predict([array, tmp_path / "alpha.png"])
    assert first["score"] == second["score"]


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
    ],
    ids=lambda array: f"{array.shape} {array.dtype}",
)
def test_an_array_that_is_no_picture_is_refused(pipeline: Pipeline, bad: Any) -> None:
    with pytest.raises(ImageError):
        list(pipeline.predict(bad))


@pytest.mark.parametrize("bad", [None, 3, b"bytes", {"image": "x.png"}])
def test_an_input_of_another_kind_is_refused_with_what_is_taken(
    pipeline: Pipeline, bad: Any
) -> None:
    with pytest.raises(DataError, match="'img'"):
        list(pipeline.predict(bad))


def test_an_empty_folder_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has no image"):
        list(pipeline.predict(tmp_path / "empty"))


def test_a_broken_picture_is_named_after_the_results_of_those_before_it(
    pipeline: Pipeline, folder: Path
) -> None:
    (folder / "c broken.png").write_bytes(b"no picture")
    results = pipeline.predict(folder, batch_size=64)
    assert next(results)["input_path"] == str(folder / "b c.JPG")
    with pytest.raises(ImageError, match=r"c broken\.png"):
        next(results)


def test_broken_pictures_can_be_reported_and_left_out(pipeline: Pipeline, folder: Path) -> None:
    (folder / "c broken.png").write_bytes(b"no picture")
    errors: list[ImageError] = []
    results = list(pipeline.predict(folder, 2, on_bad_image=errors.append))
    assert paths(results) == [str(folder / name) for name in NAMES]
    assert len(errors) == 1
    assert "c broken.png" in str(errors[0])


def test_alpha_and_threshold_can_be_set_for_one_call(pipeline: Pipeline, picture: Pictures) -> None:
    (usual,) = pipeline.predict(picture(0))
    (lower,) = pipeline.predict(picture(0), threshold=usual["score"] / 2)
    (wider,) = pipeline.predict(picture(0), alpha=0.5)
    (again,) = pipeline.predict(picture(0))
    assert lower["is_anomalous"]
    assert lower["pred"].max() == 255
    assert wider["threshold"] < usual["threshold"]
    assert wider["alpha"] <= 0.5
    assert again["threshold"] == usual["threshold"]


def test_wrong_arguments_are_refused_at_once(pipeline: Pipeline, picture: Pictures) -> None:
    with pytest.raises(CalibrationError, match="not both"):
        pipeline.predict(picture(0), alpha=0.1, threshold=1.0)
    for size in (0, -1, 1.5, True, "2"):
        with pytest.raises(ConfigError, match="batch_size"):
            pipeline.predict(picture(0), batch_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"alpha": "0.1"}, {"threshold": "1"}, {"min_area": "9"}, {"min_area": 2.5}]
)
def test_a_setting_of_another_type_is_refused_in_words(
    pipeline: Pipeline, picture: Pictures, wrong: dict[str, Any]
) -> None:
    with pytest.raises(CalibrationError, match="number"):
        list(pipeline.predict(picture(0), **wrong))


def test_a_closed_pipeline_says_so(pipeline: Pipeline, picture: Pictures) -> None:
    pipeline.close()
    with pytest.raises(ServingError, match="closed"):
        list(pipeline.predict(picture(0)))


class Site(BaseHTTPRequestHandler):
    """`/part%201.png` is a picture, `/endless` never ends, `/loop` redirects to itself."""

    content = b""

    def do_GET(self) -> None:
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(65536))
            except OSError:
                pass
        elif self.path.startswith("/part"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.content)
        else:
            self.send_error(404)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    Site.content = (folder / "x.png").read_bytes()
    server = HTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_fetched_and_named_after_its_path(
    pipeline: Pipeline, site: str, folder: Path, tmp_path: Path
) -> None:
    remote, local = pipeline.predict([f"{site}/part%201.png?size=full", folder / "x.png"])
    assert remote["input_path"] == f"{site}/part%201.png?size=full"
    assert remote["score"] == local["score"]
    assert remote.save_to_json(tmp_path).name == "part 1_res.json"


@pytest.mark.parametrize(("path", "reason"), [("/nothing", "404"), ("/loop", "redirect")])
def test_a_url_that_cannot_be_had_is_an_image_error(
    pipeline: Pipeline, site: str, path: str, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        list(pipeline.predict(site + path))
    assert site in str(caught.value)


def test_a_download_ends_at_its_limits(site: str) -> None:
    with pytest.raises(ImageError, match="larger than"):
        download(f"{site}/endless", max_bytes=2**20)
    with pytest.raises(ImageError, match="longer than"):
        download(f"{site}/endless", max_seconds=0.05)


def test_a_url_that_nobody_answers_is_an_image_error(pipeline: Pipeline) -> None:
    with pytest.raises(ImageError, match=r"cannot fetch http://127\.0\.0\.1:9/x\.png"):
        list(pipeline.predict("http://127.0.0.1:9/x.png"))


def test_files_and_arrays_give_what_the_image_reader_gives(
    pipeline: Pipeline, folder: Path
) -> None:
    file, array = pipeline.predict([folder / "b c.JPG", read(folder / "b c.JPG")])
    assert file["score"] == array["score"]
