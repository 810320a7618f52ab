import base64
import codecs
import gzip
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.serving.running import Running, encoded

PNG = encoded(np.full((20, 20, 3), 90, np.uint8))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png_that_claims(width: int, height: int) -> bytes:
    """A valid small file whose header promises a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def gif() -> bytes:
    file = io.BytesIO()
    Pillow.new("L", (8, 8)).save(file, "GIF")
    return file.getvalue()


WHOLE = base64.b64decode(PNG)
IMAGES = {
    "not base64": ("§§§", 400, "not valid base64"),
    "a file name": ("part.png", 400, "not valid base64"),
    "base64 of nothing": ("=", 400, "not valid base64"),
    "text": (text(b"hello, this is no image"), 415, "not a PNG, JPEG"),
    "a GIF": (text(gif()), 415, "not a PNG, JPEG"),
    "a PDF": (text(b"%PDF-1.7 ..."), 415, "not a PNG, JPEG"),
    "an SVG": (text(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), 415, "not a PNG, JPEG"),
    "half a PNG": (text(WHOLE[: len(WHOLE) // 2]), 400, "damaged"),
    "only the first bytes": (text(WHOLE[:8]), 400, "damaged"),
    "a bomb": (text(png_that_claims(40_000, 40_000)), 413, "pixels"),
    "just too many pixels": (text(png_that_claims(1000, 101)), 413, "pixels"),
    "no pixels at all": (text(png_that_claims(0, 10)), 400, "damaged"),
    "a URL": ("http://127.0.0.1/part.png", 403, "URLs are off"),
    "a file URL": ("file:///etc/passwd", 403, "URLs are off"),
    "a URL in capitals after spaces": ("  HTTPS://EXAMPLE.COM/a.png", 403, "URLs are off"),
}
BODIES: dict[str, tuple[Any, int, str]] = {
    "nothing": (b"", 400, "not valid JSON"),
    "half a JSON": (b'{"image": "', 400, "not valid JSON"),
    "not UTF-8": (b'{"image": "\xff\xfe"}', 400, "not valid JSON"),
    "a form": (b"image=abc&visualize=1", 400, "not valid JSON"),
    "deep nesting": (b"[" * 100_000, 400, "not valid JSON"),
    "deep nesting that closes": (b"[" * 50_000 + b"]" * 50_000, 400, "not valid JSON"),
    "a list": ([], 422, "JSON object"),
    "a string": ('"x"', 422, "JSON object"),
    "no image": ({}, 422, "'image' is missing"),
    "image is null": ({"image": None}, 422, "'image' is missing"),
    "image is a number": ({"image": 7}, 422, "'image' must be"),
    "image is a list": ({"image": [PNG]}, 422, "'image' must be"),
    "empty image": ({"image": ""}, 422, "'image' must be"),
    "a field nobody knows": ({"image": PNG, "treshold": 1}, 422, "unknown field"),
    "visualize is a word": ({"image": PNG, "visualize": "yes"}, 422, "'visualize' must be"),
    "an unknown encoding": ({"image": PNG, "labelMap": "zip"}, 422, "'labelMap' must be"),
    "alpha of one": ({"image": PNG, "alpha": 1.0}, 422, "'alpha' must be"),
    "alpha below zero": ({"image": PNG, "alpha": -0.1}, 422, "'alpha' must be"),
    "threshold is text": ({"image": PNG, "threshold": "0.5"}, 422, "'threshold' must be"),
    "a number beyond all": (b'{"image": "x", "threshold": 1e999}', 400, "not valid JSON"),
    "NaN": (b'{"image": "x", "threshold": NaN}', 400, "not valid JSON"),
    "an area below zero": ({"image": PNG, "minArea": -1}, 422, "'minArea' must be"),
    "an area of half a pixel": ({"image": PNG, "minArea": 0.5}, 422, "'minArea' must be"),
    "both": ({"image": PNG, "alpha": 0.1, "threshold": 1}, 422, "not both"),
}


@pytest.mark.parametrize(("image", "status", "words"), IMAGES.values(), ids=IMAGES)
def test_a_bad_image_is_refused_in_our_own_words(
    server: Running, image: str, status: int, words: str
) -> None:
    answer = server.http.post("/image-anomaly-detection", json={"image": image})
    assert_refused(answer, status, words)


@pytest.mark.parametrize(("body", "status", "words"), BODIES.values(), ids=BODIES)
def test_a_bad_body_is_refused_in_our_own_words(
    server: Running, body: Any, status: int, words: str
) -> None:
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    if isinstance(body, str):
        sent = {"content": body.encode()}
    assert_refused(server.http.post("/image-anomaly-detection", **sent), status, words)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/image-anomaly-detection", 405),
        ("POST", "/readyz", 405),
        ("GET", "/nothing", 404),
        ("GET", "/docs", 404),
        ("POST", "/../../etc/passwd", 404),
    ],
)
def test_other_paths_and_methods_get_the_same_envelope(
    server: Running, method: str, path: str, status: int
) -> None:
    assert_refused(server.http.request(method, path), status, "POST /image-anomaly-detection")


def test_an_image_that_lies_about_its_size_costs_no_engine(server: Running, image: str) -> None:
    before = server.pids()
    for _ in range(5):
        server.judge(text(png_that_claims(40_000, 40_000)))
    assert server.judge(image)["errorCode"] == 0
    assert server.pids() == before


def assert_refused(answer: Any, status: int, words: str) -> None:
    envelope = answer.json()
    assert answer.status_code == envelope["errorCode"] == status
    assert words in envelope["errorMsg"]
    assert set(envelope) == {"logId", "errorCode", "errorMsg"}
    # No library's text, no path of this machine, nothing of what was sent.
    for leak in ("Traceback", "pydantic", "PIL", "cv2", "site-packages", "/work", "/tmp", "0x"):
        assert leak not in answer.text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_head_gives_the_status_of_a_health_route_alone(server: Running, path: str) -> None:
    answer = server.http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_a_body_with_a_byte_order_mark_is_read(server: Running, image: str, encoding: str) -> None:
    text = json.dumps({"image": image, "visualize": False, "labelMap": "rle"})
    if encoding == "utf-16-le-bom":
        body = codecs.BOM_UTF16_LE + text.encode("utf-16-le")
    else:
        body = text.encode(encoding)
    assert server.http.post("/image-anomaly-detection", content=body).json()["errorCode"] == 0


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["unsaid", "said"])
def test_a_compressed_body_is_refused_with_its_encoding(
    server: Running, image: str, headers: dict[str, str]
) -> None:
    body = gzip.compress(json.dumps({"image": image}).encode())
    answer = server.http.post("/image-anomaly-detection", content=body, headers=headers)
    assert (answer.status_code, "(gzip)" in answer.json()["errorMsg"]) == (415, True)


def test_a_floating_point_tiff_is_not_called_damaged(server: Running) -> None:
    file = io.BytesIO()
    Pillow.fromarray(np.zeros((20, 20), np.float32)).save(file, "TIFF")
    answer = server.judge(base64.b64encode(file.getvalue()).decode())
    assert answer["errorCode"] == 400
    assert "export it as 8 or 16 bit" in answer["errorMsg"]
    assert "damaged" not in answer["errorMsg"]
