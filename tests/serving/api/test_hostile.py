"""Generated bad bodies: always the envelope, never a 5xx, no engine lost, memory flat."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.running import Running, encoded, running

Bundles = Callable[[int], Path]
SUFFIXES = (".png", ".jpg", ".bmp", ".tiff", ".webp")
SAMPLE = np.random.default_rng(3).integers(0, 256, (24, 33, 3), np.uint8)
FILES = [base64.b64decode(encoded(SAMPLE, suffix)) for suffix in SUFFIXES]
# What needs no parser's luck: sizes that are legal but odd.
ODD_SIZES = [(1, 1), (1, 5000), (5000, 1), (2, 3), (1, 90_000), (17, 4001)]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
fields = st.sampled_from(["image", "images", "visualize", "labelMap", "alpha", "threshold", "x"])


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A real file with bytes changed, cut off, repeated or put in front."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
    how = draw(st.sampled_from(["whole", "cut", "twice", "garbage after", "hole"]))
    changed = {
        "whole": data,
        "cut": data[:end],
        "twice": data + data[start:end],
        "garbage after": data + draw(st.binary(max_size=50)),
        "hole": data[:start] + data[end:],
    }[how]
    return bytes(changed)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, str]:
    """A body and a Content-Type, mostly wrong."""
    kind = draw(st.sampled_from(["bytes", "json", "fields", "image", "form"]))
    if kind == "bytes":
        return draw(st.binary(max_size=300)), draw(
            st.text(st.characters(codec="ascii"), max_size=9)
        )
    if kind == "json":
        return json.dumps(draw(json_values)).encode(), "application/json"
    if kind == "fields":
        return json.dumps(draw(st.dictionaries(fields, json_values))).encode(), ""
    file = draw(damaged_files())
    if kind == "form":
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        body = head + file + draw(st.sampled_from([b"\r\n--b--\r\n", b"\r\n--b", b""]))
        return body, "multipart/form-data; boundary=b"
    options = draw(st.dictionaries(st.sampled_from(["alpha", "threshold"]), st.floats()))
    return json.dumps({"image": base64.b64encode(file).decode(), **options}).encode(), "text/plain"


def check(server: Running, body: bytes, content_type: str) -> None:
    path = "/image-anomaly-detection"
    headers = {"Content-Type": content_type.strip()} if content_type.isprintable() else {}
    answer = server.http.post(path, content=body, headers=headers)
    envelope = answer.json()
    assert answer.status_code < 500
    assert envelope["errorCode"] == (0 if answer.status_code == 200 else answer.status_code)
    assert set(envelope) == {"logId", "errorCode", "errorMsg"} | (
        {"result"} if answer.status_code == 200 else set()
    )


@pytest.fixture(scope="module")
def target(random_bundle: Bundles) -> Iterator[Running]:
    """A server that is quick to say that a picture is too large."""
    with running(models=[str(random_bundle(1))], limits={"pixels": 500_000}) as server:
        yield server


GENERATED = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@given(sent=requests())
@settings(max_examples=150, derandomize=True, **GENERATED)
def test_no_generated_body_gets_a_5xx(target: Running, sent: tuple[bytes, str]) -> None:
    check(target, *sent)


def test_odd_sizes_are_judged_and_drawn(target: Running) -> None:
    for size in ODD_SIZES:
        image = encoded(np.full((*size, 3), 90, np.uint8))
        result = target.judge(image, visualize=True)
        assert result["errorCode"] == 0, size
        assert result["result"]["size"] == list(size)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_generated_bodies_leave_memory_flat(
    target: Running, image: str, record_property: Callable[[str, object], None]
) -> None:
    before, memory = target.pids(), []

    def note() -> None:
        engine = psutil.Process(target.pids()[0]).memory_info().rss
        memory.append((psutil.Process().memory_info().rss / 2**20, engine / 2**20))

    @given(sent=requests())
    @settings(max_examples=1000, **GENERATED)
    def thousand(sent: tuple[bytes, str]) -> None:
        check(target, *sent)

    for _ in range(10):
        thousand()
        note()
    front, engine = np.asarray(memory).T
    slopes = [float(np.polyfit(range(5), each[5:], 1)[0]) for each in (front, engine)]
    facts: dict[str, Any] = {"memory_mib": memory, "mib_a_thousand": slopes}
    record_property("hostile", facts)
    print(facts)  # noqa: T201 - the soak's result
    assert target.pids() == before
    assert target.judge(image)["errorCode"] == 0
    assert max(slopes) < 1.0
