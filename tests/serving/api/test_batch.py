import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.running import Running, encoded

Bundles = Callable[[int], Path]
PATH = "/image-anomaly-detection"
QUIET = {"visualize": False, "labelMap": "rle"}


def test_a_batch_answers_each_image_as_if_it_came_alone(server: Running, image: str) -> None:
    other = encoded(np.full((32, 40, 3), 200, np.uint8))
    items = server.http.post(f"{PATH}/batch", json={"images": [image, other], **QUIET}).json()
    assert items["errorCode"] == 0
    assert [item["result"] for item in items["result"]] == [
        server.judge(each)["result"] for each in (image, other)
    ]


def test_a_bad_image_in_a_batch_is_its_own_failure(server: Running, image: str) -> None:
    asked = {"images": [image, "bm8gaW1hZ2U=", image], **QUIET}
    items = server.http.post(f"{PATH}/batch", json=asked).json()["result"]
    assert [item["errorCode"] for item in items] == [0, 415, 0]
    assert "result" not in items[1]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"images": []}, 422, "'images' must be"),
        ({"images": "abc"}, 422, "'images' must be"),
        ({"images": ["abc", 3]}, 422, "'images' must be"),
        ({"image": "abc"}, 422, "'images' is missing"),
        ({"images": ["a"] * 65}, 413, "at most 64"),
    ],
)
def test_a_bad_batch_is_refused(server: Running, body: Any, status: int, words: str) -> None:
    answer = server.http.post(f"{PATH}/batch", json=body)
    assert (answer.status_code, words in answer.json()["errorMsg"]) == (status, True)


def test_a_file_can_be_uploaded_as_a_form(server: Running, image: str) -> None:
    file = {"image": ("part 1.png", base64.b64decode(image), "image/png")}
    answer = server.http.post(
        PATH, files=file, data={"visualize": "false", "labelMap": "rle", "alpha": "0.5"}
    )
    assert answer.json()["result"] == server.judge(image, alpha=0.5)["result"]


def test_several_files_can_be_uploaded_as_a_form(server: Running, image: str) -> None:
    files = [("images", ("a.png", base64.b64decode(image)))] * 3
    items = server.http.post(f"{PATH}/batch", files=files, data={"visualize": "false"}).json()
    assert [item["errorCode"] for item in items["result"]] == [0, 0, 0]


FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (FORM, "multipart/form-data", 400),  # no boundary
        (FORM, "multipart/form-data; boundary=other", 400),
        (FORM[:-10], "multipart/form-data; boundary=x", 400),
        (b"", "multipart/form-data; boundary=x", 400),
        (b"\xff" * 1000, "multipart/form-data; boundary=x", 400),
        (FORM, "multipart/form-data; boundary=" + "x" * 5000, 400),
        (FORM, "multipart/form-data; boundary=x", 415),
        (FORM.replace(b'"image"', b'"picture"'), "multipart/form-data; boundary=x", 422),
        (FORM.replace(b"form-data;", b"form-data"), "multipart/form-data; boundary=x", 422),
        (FORM[:-7] + FORM, "multipart/form-data; boundary=x", 422),  # two images
        (FORM[:-7] * 1500 + FORM, "multipart/form-data; boundary=x", 413),
    ],
)
def test_a_broken_form_is_refused(
    server: Running, body: bytes, content_type: str, status: int
) -> None:
    answer = server.http.post(PATH, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == answer.json()["errorCode"] == status


def test_an_answer_is_compressed_when_the_client_asks(server: Running, image: str) -> None:
    asked = {"image": image, "visualize": False}
    headers = {"Accept-Encoding": "br;q=1.0, gzip;q=0.8"}
    with server.http.stream("POST", PATH, json=asked, headers=headers) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert json.loads(gzip.decompress(raw))["result"]["size"] == [48, 64]


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "x-gzip-not", ""])
def test_an_answer_is_plain_when_the_client_does_not(
    server: Running, image: str, accepted: str
) -> None:
    asked = {"image": image, "visualize": False}
    answer = server.http.post(PATH, json=asked, headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers


def test_several_products_answer_under_their_names(
    serve: Callable[..., Running], random_bundle: Bundles, image: str
) -> None:
    server = serve(models=[f"cookie={random_bundle(1)}", f"screw={random_bundle(2)}"])
    versions = [
        server.judge(image, path)["result"]["modelVersion"]
        for path in (PATH, f"/models/cookie{PATH}", f"/models/screw{PATH}")
    ]
    assert versions[0] == versions[1] != versions[2]
    assert server.judge(image, f"/models/nut{PATH}")["errorCode"] == 404
    batch = server.http.post(f"/models/screw{PATH}/batch", json={"images": [image], **QUIET})
    assert batch.json()["result"][0]["result"]["modelVersion"] == versions[2]


def test_two_products_of_one_name_are_refused(
    serve: Callable[..., Running], random_bundle: Bundles
) -> None:
    from uad.errors import ConfigError

    with pytest.raises(ConfigError, match="same name"):
        serve(models=[f"cookie={random_bundle(1)}", f"cookie={random_bundle(2)}"])
