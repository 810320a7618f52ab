import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import orjson
import pytest

from tests.images import part as grey_part
from tests.serving.running import Running, encoded
from uad.client import Client
from uad.inference.detector import load_detector

Bundles = Callable[[int], Path]


def test_the_answer_is_paddlex_envelope_with_our_additions(server: Running, image: str) -> None:
    answer = server.judge(image, labelMap="array")
    result = answer["result"]
    assert set(answer) == {"logId", "errorCode", "errorMsg", "result"}
    assert (answer["errorCode"], answer["errorMsg"]) == (0, "Success")
    assert result["size"] == [48, 64]
    assert len(result["labelMap"]) == 48 * 64
    assert set(result["labelMap"]) <= {0, 255}
    assert result["isAnomalous"] == (result["score"] > result["threshold"])


def test_it_answers_what_the_library_answers(
    server: Running, image: str, part: np.ndarray, random_bundle: Bundles
) -> None:
    (expected,) = load_detector(random_bundle(1)).detect([part], alpha=0.5)
    result = server.judge(image, labelMap="array", alpha=0.5)["result"]
    assert result["score"] == pytest.approx(expected.score, rel=1e-5)
    assert result["pValue"] == pytest.approx(expected.p_value)
    assert result["threshold"] == pytest.approx(expected.threshold)
    assert result["mapThreshold"] == pytest.approx(expected.map_threshold)
    assert result["raisedBy"] == expected.raised_by
    assert result["zones"] == []
    assert np.reshape(result["labelMap"], (48, 64)).tolist() == expected.label_map.tolist()
    boxes = [list(region.box) for region in expected.regions.listed]
    assert [region["box"] for region in result["regions"]] == boxes


def test_the_label_map_says_the_same_in_each_encoding(server: Running, image: str) -> None:
    threshold = 0.9 * server.judge(image)["result"]["score"]
    flat, runs, png = (
        server.judge(image, labelMap=encoding, threshold=threshold)["result"]["labelMap"]
        for encoding in ("array", "rle", "png")
    )
    assert 0 < np.count_nonzero(flat) < len(flat)
    values = [0, 255] * len(runs)
    assert np.repeat(values[: len(runs)], runs).tolist() == flat
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.reshape(-1).tolist() == flat


@pytest.mark.parametrize("seed", range(3))
def test_a_label_map_is_written_the_same_by_run_and_by_number(seed: int) -> None:
    from serving.inference.encoding import encoded_label_map

    rng = np.random.default_rng(seed)
    rough = np.where(rng.random((300, 400)) < 0.5, 0, 255).astype(np.uint8)
    smooth = np.kron(rough[:3, :4], np.ones((100, 100), np.uint8))
    for label_map in (rough, smooth):
        written = orjson.dumps(
            encoded_label_map(label_map, "array"), option=orjson.OPT_SERIALIZE_NUMPY
        )
        assert json.loads(written) == label_map.reshape(-1).tolist()


def test_run_lengths_start_with_zeros_even_if_there_are_none(server: Running, image: str) -> None:
    assert server.judge(image, threshold=-1.0)["result"]["labelMap"] == [0, 48 * 64]
    assert server.judge(image, threshold=9.0)["result"]["labelMap"] == [48 * 64]


def test_the_marked_regions_are_listed_and_nothing_marked_is_an_empty_list(
    server: Running, image: str
) -> None:
    whole = server.judge(image, threshold=-1.0)["result"]
    assert [region["box"] for region in whole["regions"]] == [[0, 0, 64, 48]]
    assert whole["regions"][0]["area"] == 48 * 64
    assert whole["regions"][0]["score"] == whole["score"]
    nothing = server.judge(image, threshold=9.0)["result"]
    assert (nothing["regions"], nothing["regionsOmitted"]) == ([], 0)


def test_a_smallest_defect_takes_the_alarm_and_the_mark_away(server: Running, image: str) -> None:
    whole = server.judge(image, threshold=0.0, minArea=48 * 64)["result"]
    assert (whole["isAnomalous"], whole["minArea"]) == (True, 48 * 64)
    score = server.judge(image)["result"]["score"]
    peak = server.judge(image, threshold=0.999 * score)["result"]
    area = peak["regions"][0]["area"]
    larger = server.judge(image, threshold=0.999 * score, minArea=area + 1)["result"]
    assert (larger["isAnomalous"], larger["regions"]) == (False, [])
    assert larger["labelMap"] == [48 * 64]


def test_a_smallest_defect_larger_than_the_image_is_refused(server: Running, image: str) -> None:
    answer = server.judge(image, minArea=48 * 64 + 1)
    assert answer["errorCode"] == 422
    assert "3073 pixels, but an image has 64 x 48 = 3072" in answer["errorMsg"]


def test_each_product_may_have_a_threshold_of_its_own(
    serve: Callable[..., Running], random_bundle: Bundles, image: str
) -> None:
    models = [f"{name}={random_bundle(1)}" for name in ("cookie", "bolt v1.2", "nut")]
    own = {"cookie": {"threshold": 0.25}, "bolt v1.2": {"alpha": 0.5}}
    running = serve(models=models, threshold=0.75, products=own)
    answers = {
        name: running.judge(image, path=f"/models/{name}/image-anomaly-detection")["result"]
        for name in ("cookie", "bolt%20v1.2", "nut")
    }
    assert answers["cookie"]["threshold"] == 0.25
    assert answers["bolt%20v1.2"]["alpha"] == 0.5
    assert answers["nut"]["threshold"] == 0.75


def test_an_alpha_that_cannot_be_promised_is_named_beside_the_one_used(
    server: Running, image: str
) -> None:
    result = server.judge(image, alpha=0.001)["result"]
    assert (result["requestedAlpha"], result["alpha"]) == (0.001, 0.05)
    assert server.judge(image, alpha=0.5)["result"]["requestedAlpha"] is None


def test_an_image_of_another_kind_than_those_of_calibration_gets_a_warning(
    serve: Callable[..., Running],
    trained_bundle: Path,
    image: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = serve(models=[f"cookie={trained_bundle}"], keep={"images": "all"})
    usual, odd = running.judge(encoded(grey_part(1))), running.judge(image)
    assert usual["result"]["warnings"] == []
    [sentence] = odd["result"]["warnings"]
    assert sentence.startswith("The image is in colour, but all images that set the threshold")
    running.judge(image)
    assert [sentence in record.getMessage() for record in caplog.records].count(True) == 1
    with Client(running.url) as client:
        assert client.predict(base64.b64decode(image)).warnings == (sentence,)
    now = running.http.get("/page/models/cookie/now").json()["result"]
    assert now["warnings"] == [sentence]
    assert running.state.writer.flush()
    shown = running.http.get(f"/page/models/cookie/images/{odd['logId']}").json()["result"]
    assert shown["facts"]["warnings"] == [sentence]


def test_a_request_may_set_its_own_threshold(server: Running, image: str) -> None:
    result = server.judge(image, threshold=-1.0)["result"]
    assert (result["threshold"], result["isAnomalous"]) == (-1.0, True)


def test_the_picture_is_a_jpeg_of_the_verdict_and_only_sent_if_wanted(
    server: Running, image: str
) -> None:
    shown = server.judge(image, visualize=True)["result"]["image"]
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(shown), np.uint8), cv2.IMREAD_COLOR)
    assert base64.b64decode(shown).startswith(b"\xff\xd8\xff")
    assert min(drawn.shape[:2]) >= 48
    assert "image" not in server.judge(image, visualize=False)["result"]


def test_a_folder_serves_under_its_bundle_id(
    server: Running, image: str, random_bundle: Bundles
) -> None:
    from uad.bundle import read_bundle

    assert server.judge(image)["result"]["modelVersion"] == read_bundle(random_bundle(1)).id


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
def test_every_format_is_read(server: Running, part: np.ndarray, suffix: str) -> None:
    assert server.judge(encoded(part, suffix))["errorCode"] == 0


@pytest.mark.parametrize(
    "written",
    [
        lambda text: f"data:image/png;base64,{text}",
        lambda text: "\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
        lambda text: f" {text}\r\n",
    ],
    ids=["data prefix", "line breaks", "spaces around"],
)
def test_base64_is_taken_as_clients_write_it(
    server: Running, image: str, written: Callable[[str], str]
) -> None:
    assert server.judge(written(image))["errorCode"] == 0


@pytest.mark.parametrize("path", ["/image-anomaly-detection", "/anomaly-detection"])
@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "application/x-www-form-urlencoded", "text/plain; charset=latin-1"],
)
def test_the_body_is_json_whatever_its_content_type(
    server: Running, image: str, path: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    body = json.dumps({"image": image, "visualize": False}).encode()
    assert server.http.post(path, content=body, headers=headers).json()["errorCode"] == 0


def test_a_client_that_waits_for_100_continue_gets_it(server: Running, image: str) -> None:
    body = json.dumps({"image": image, "visualize": False}).encode()
    with exchange(server, len(body)) as (connection, answer):
        assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
        connection.sendall(body)
        assert answer.readline() == b"\r\n"
        assert answer.readline() == b"HTTP/1.1 200 OK\r\n"


def test_a_body_announced_as_too_long_is_refused_before_it_is_sent(server: Running) -> None:
    with exchange(server, 10**10) as (_, answer):
        assert answer.readline().startswith(b"HTTP/1.1 413")


class exchange:  # noqa: N801
    """A request's head by hand, with `Expect: 100-continue`."""

    def __init__(self, server: Running, length: int) -> None:
        host = urlsplit(server.url)
        self.connection = socket.create_connection((host.hostname, host.port), timeout=20)
        head = (
            "POST /image-anomaly-detection HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            f"Content-Length: {length}\r\n\r\n"
        )
        self.connection.sendall(head.encode())

    def __enter__(self) -> tuple[socket.socket, "socket.SocketIO"]:
        self.file = self.connection.makefile("rb")
        return self.connection, self.file

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.connection.close()


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
def test_a_healthy_server_says_so(server: Running, path: str) -> None:
    answer = server.http.get(path)
    assert answer.status_code == 200
    assert answer.json()["errorCode"] == 0


def test_every_answer_tells_browsers_to_do_nothing_with_it(server: Running) -> None:
    headers = server.http.get("/livez").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_openapi_describes_what_a_request_may_hold(server: Running) -> None:
    described = server.http.get("/openapi.json").json()["paths"]["/image-anomaly-detection"]
    schema = described["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {
        *("image", "visualize", "labelMap", "alpha", "threshold", "minArea")
    }
