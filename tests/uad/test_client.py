"""The client against a small server of its own: what it sends, reads, refuses and waits for."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from uad.cli import main
from uad.client import Client
from uad.errors import ImageError, RequestRefused, ServingError

LABELS = np.array([[0, 255, 0], [0, 0, 255]], np.uint8)
IMAGE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def base64_png(image: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()


def success(**changes: object) -> dict[str, object]:
    result = {
        "labelMap": base64_png(LABELS),
        "size": [2, 3],
        "image": base64.b64encode(b"\xff\xd8 a picture").decode(),
        "score": 0.25,
        "threshold": 0.125,
        "alpha": 0.05,
        "pValue": 0.05,
        "isAnomalous": True,
        "regions": [
            {"box": [1, 0, 1, 1], "area": 1, "score": 0.25, "centre": [1.0, 0.0]},
            {"box": [2, 1, 1, 1], "area": 1, "score": 0.2, "centre": [2.0, 1.0]},
        ],
        "regionsOmitted": 0,
        "modelVersion": "7",
    }
    return {"logId": "a1", "errorCode": 0, "errorMsg": "Success", "result": {**result, **changes}}


def answering(
    *answers: httpx.Response, seen: list[httpx.Request] | None = None
) -> httpx.MockTransport:
    left = list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    return httpx.MockTransport(handle)


def ok(**changes: object) -> httpx.Response:
    return httpx.Response(200, json=success(**changes))


def refusal(status: int, words: str, **headers: str) -> httpx.Response:
    values = {"logId": "a1", "errorCode": status, "errorMsg": words}
    return httpx.Response(status, json=values, headers=headers)


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def client(self, transport: httpx.BaseTransport, **options: float) -> Client:
        return Client(transport=transport, sleep=self.sleep, clock=lambda: self.now, **options)


def test_an_array_is_sent_losslessly_and_the_answer_is_typed() -> None:
    seen: list[httpx.Request] = []
    with Client("http://line4:8080", transport=answering(ok(), seen=seen)) as client:
        found = client.predict(IMAGE, alpha=0.01)
    sent = json.loads(seen[0].content)
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(sent["image"]), np.uint8), -1)
    assert seen[0].url == "http://line4:8080/image-anomaly-detection"
    assert (sent["alpha"], "threshold" in sent) == (0.01, False)
    assert np.array_equal(decoded, IMAGE)
    assert np.array_equal(found.label_map, LABELS)
    assert (found.score, found.threshold, found.p_value) == (0.25, 0.125, 0.05)
    assert (found.is_anomalous, found.size, found.model_version) == (True, (2, 3), "7")
    assert [region.box for region in found.regions.listed] == [(1, 0, 1, 1), (2, 1, 1, 1)]
    assert found.picture == b"\xff\xd8 a picture"


def test_a_file_travels_as_its_own_bytes_and_a_url_as_text(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []
    file = tmp_path / "Part 1.PNG"
    file.write_bytes(b"whatever is in the file")
    with Client(transport=answering(ok(), seen=seen)) as client:
        client.predict(file)
        client.predict(str(file))
        client.predict("http://camera/now.png")
    sent = [json.loads(request.content)["image"] for request in seen]
    assert sent == [base64.b64encode(file.read_bytes()).decode()] * 2 + ["http://camera/now.png"]


def test_the_path_of_a_product_is_kept_and_the_api_key_is_sent() -> None:
    seen: list[httpx.Request] = []
    url = "http://line4:8080/models/cookie/image-anomaly-detection"
    transport = answering(ok(), seen=seen)
    with Client(url, api_key="uad_k", transport=transport) as client:
        client.predict(IMAGE)
    assert (str(seen[0].url), seen[0].headers["authorization"]) == (url, "Bearer uad_k")


def test_a_server_that_sends_one_number_a_pixel_and_no_picture_is_understood() -> None:
    answer = ok(labelMap=LABELS.reshape(-1).tolist(), image=None)
    with Client(transport=answering(answer)) as client:
        found = client.predict(IMAGE, visualize=False)
    assert np.array_equal(found.label_map, LABELS)
    assert found.picture is None


def test_a_refusal_carries_the_servers_status_and_words() -> None:
    answer = refusal(415, "'image' is not a PNG")
    with (
        Client(transport=answering(answer)) as client,
        pytest.raises(RequestRefused, match="415: 'image' is not a PNG") as refused,
    ):
        client.predict(IMAGE)
    assert refused.value.status == 415


def test_a_busy_server_is_asked_again_after_the_time_it_names() -> None:
    time = Time()
    busy = refusal(429, "busy", **{"Retry-After": "3"})
    found = time.client(answering(busy, busy, ok())).predict(IMAGE)
    assert found.score == 0.25
    assert time.slept == [3.0, 3.0]


def test_the_wait_may_be_a_date() -> None:
    time = Time()
    past = refusal(503, "draining", **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    time.client(answering(past, ok())).predict(IMAGE)
    assert time.slept == [0.0]


def test_it_gives_up_before_the_deadline_would_pass() -> None:
    time = Time()
    busy = refusal(429, "all engines are busy", **{"Retry-After": "4"})
    with pytest.raises(RequestRefused, match="all engines are busy"):
        time.client(answering(busy), deadline_seconds=10).predict(IMAGE)
    assert time.slept == [4.0, 4.0]


def test_a_server_without_a_model_is_not_asked_again() -> None:
    time = Time()
    with pytest.raises(RequestRefused, match="no model"):
        time.client(answering(refusal(503, "no model"), ok())).predict(IMAGE)
    assert time.slept == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(404, text="<html>not found</html>"),
        lambda: httpx.Response(200, json=["no", "envelope"]),
        lambda: httpx.Response(200, json={"errorCode": 0, "errorMsg": "Success"}),
        lambda: ok(labelMap=base64_png(LABELS.T)),
        lambda: ok(labelMap="no base64!"),
        lambda: ok(labelMap=[0, 255]),
        lambda: ok(score="high"),
    ],
)
def test_an_answer_of_another_kind_is_named_as_such(answer: Callable[[], httpx.Response]) -> None:
    with Client(transport=answering(answer())) as client, pytest.raises(ServingError, match="uad"):
        client.predict(IMAGE)


@pytest.mark.parametrize("url", ["line4:8080", "ftp://line4", "http://", "http://line4:port"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ServingError, match="http://HOST:PORT"):
        Client(url)


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 3), (2, 3, 4)])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with Client(transport=answering(ok())) as client, pytest.raises(ImageError, match="uint8 BGR"):
        client.predict(np.zeros(shape, np.uint8))


def test_a_server_that_is_not_there_is_one_line_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(SystemExit) as stopped:
        main(["client", "--url", "http://127.0.0.1:9", str(tmp_path)])
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert error.startswith("error: http://127.0.0.1:9/image-anomaly-detection cannot be reached")
    assert "uad serve" in error
    assert error.count("\n") == 1
