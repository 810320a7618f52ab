"""What few clients can do to all others, at the real socket: see the table in docs/serving.md."""

import base64
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.attackers import HEAD, MEGABYTE, PATH, blank, connect, many_scans, posted
from tests.serving.running import Running, encoded, running, until

Bundles = Callable[[int], Path]


@pytest.fixture(scope="module")
def small_memory(random_bundle: Bundles) -> Iterator[Running]:
    """Two engines, and a front with 8 MB for bodies and answers."""
    limits = {"pending_bytes": 8 * MEGABYTE, "body_bytes": 6 * MEGABYTE, "pixels": 4_000_000}
    with running(models=[str(random_bundle(1))], workers=2, limits=limits) as server:
        yield server


def answer_of(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    found = b""
    while more := connection.recv(65536):
        found += more
    return found


def test_bodies_that_are_announced_and_do_not_come_take_no_memory(
    small_memory: Running, image: str
) -> None:
    idle = [connect(small_memory) for _ in range(30)]
    for each in idle:
        each.sendall(HEAD + b"Content-Length: 6000000\r\n\r\n{")
    assert [small_memory.judge(image)["errorCode"] for _ in range(10)] == [0] * 10
    assert small_memory.state.memory.held_bytes <= 30
    for each in idle:
        each.close()


def test_bodies_that_stand_still_make_room_for_those_that_come(
    small_memory: Running, image: str
) -> None:
    memory = small_memory.state.memory
    stuck = [connect(small_memory) for _ in range(2)]
    for each in stuck:
        each.sendall(HEAD + b"Content-Length: 6000000\r\n\r\n" + b" " * 2_900_000)
    until(lambda: memory.held_bytes > 5_700_000)
    until(lambda: all(charge.stands_still() for charge in memory.charges))
    body = json.dumps({"image": image, "labelMap": "rle", "visualize": False}).encode()
    answer = small_memory.http.post(PATH, content=body + b" " * 5_000_000)
    assert answer.json()["errorCode"] == 0
    for each in stuck:
        each.close()


def test_a_length_beside_chunks_is_refused_and_the_connection_closed(
    small_memory: Running,
) -> None:
    with connect(small_memory) as connection:
        both = b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(HEAD + both + b"0\r\n\r\n" + posted(b"{}"))
        found = answer_of(connection)
    assert found.startswith(b"HTTP/1.1 400")
    assert found.count(b"HTTP/1.1 ") == 1


def test_bodies_of_clients_that_left_are_not_kept(random_bundle: Bundles, image: str) -> None:
    large = encoded(np.zeros((2500, 2500, 3), np.uint8))
    body = json.dumps({"image": large, "visualize": False}).encode() + b" " * MEGABYTE
    with running(models=[str(random_bundle(1))], workers=1) as server:
        for _ in range(10):
            with connect(server) as connection:
                connection.sendall(posted(body))
        until(lambda: server.state.products.default.slot.current.detector.queued == 0)  # type: ignore[union-attr]
        until(lambda: server.state.memory.held_bytes == 0)
        assert server.judge(image)["errorCode"] == 0


def test_an_answer_longer_than_allowed_is_refused_with_the_way_out(
    serve: Callable[..., Running], random_bundle: Bundles
) -> None:
    server = serve(models=[str(random_bundle(1))], limits={"answer_bytes": 100_000})
    large = blank(400, 400)
    refused = server.judge(large, labelMap="array")
    assert (refused["errorCode"], "labelMap rle or png" in refused["errorMsg"]) == (413, True)
    assert server.judge(large, labelMap="png")["errorCode"] == 0
    batch = {"images": [blank(150, 150)] * 4, "visualize": False}
    items = server.http.post(f"{PATH}/batch", json=batch).json()["result"]
    assert [item["errorCode"] for item in items] == [0, 0, 413, 413]


def test_the_pixels_of_one_request_are_limited(
    serve: Callable[..., Running], random_bundle: Bundles
) -> None:
    server = serve(models=[str(random_bundle(1))], limits={"request_pixels": 100_000})
    batch = {"images": [blank(200, 200)] * 4, "visualize": False, "labelMap": "rle"}
    items = server.http.post(f"{PATH}/batch", json=batch).json()["result"]
    assert [item["errorCode"] for item in items] == [0, 0, 413, 413]


def test_answers_that_are_not_read_make_room_for_others(small_memory: Running, image: str) -> None:
    memory = small_memory.state.memory
    # Longer than what the kernel takes over.
    body = json.dumps({"image": blank(1950, 2000), "visualize": False}).encode()
    stuck = [connect(small_memory)]
    for each in stuck:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.sendall(posted(body))
    until(lambda: memory.held_bytes > 7_000_000)
    until(lambda: all(charge.stands_still() for charge in memory.charges))
    large = small_memory.judge(blank(1000, 1500), labelMap="array")
    assert (large["errorCode"], small_memory.judge(image)["errorCode"]) == (0, 0)
    for each in stuck:
        each.close()


def test_an_answer_that_is_read_slowly_but_steadily_comes_whole(random_bundle: Bundles) -> None:
    body = json.dumps({"image": blank(1500, 2000), "visualize": False}).encode()
    limits = {"send_seconds": 1.0}  # less than the whole answer takes
    bytes_a_second = 1_500_000  # of about 6,000,000, some of which the kernel takes at once
    with (
        running(models=[str(random_bundle(1))], limits=limits) as server,
        connect(server) as slow,
    ):
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.sendall(posted(body).replace(b"Host: x", b"Connection: close\r\nHost: x"))
        found = bytearray()
        pause = threading.Event()
        while more := slow.recv(200_000):
            found += more
            pause.wait(len(more) / bytes_a_second)
        answer = json.loads(bytes(found).partition(b"\r\n\r\n")[2])
    assert len(answer["result"]["labelMap"]) == 3_000_000


def test_a_jpeg_with_very_many_scans_is_refused_before_it_is_decoded(
    small_memory: Running,
) -> None:
    few, many = (base64.b64encode(many_scans(scans)).decode() for scans in (1, 1000))
    assert small_memory.judge(few)["errorCode"] in (0, 400)
    refused = small_memory.judge(many)
    assert (refused["errorCode"], "scans" in refused["errorMsg"]) == (400, True)


def test_single_images_take_turns_with_a_batch(random_bundle: Bundles, image: str) -> None:
    batch = json.dumps(
        {"images": [blank(1200, 1500)] * 30, "visualize": False, "labelMap": "rle"}
    ).encode()
    with running(models=[str(random_bundle(1))], workers=1) as server:
        answers: list[Any] = []
        url = f"{PATH}/batch"
        thread = threading.Thread(
            target=lambda: answers.append(server.http.post(url, content=batch).json())
        )
        thread.start()
        metrics = server.state.metrics
        until(lambda: server.state.memory.held_bytes > 0)
        before = [server.judge(image)["errorCode"] for _ in range(5)]
        assert before == [0] * 5
        assert not answers  # the batch was under way all the time
        thread.join()
    assert [item["errorCode"] for item in answers[0]["result"]] == [0] * 30
    assert b"uad_requests" in metrics.text()


def test_while_small_images_are_asked_for_one_engine_takes_no_large_ones(
    random_bundle: Bundles, image: str
) -> None:
    limits = {"large_pixels": 10_000}
    with running(models=[str(random_bundle(1))], workers=2, limits=limits) as server:
        assert server.judge(image)["errorCode"] == 0
        body = json.dumps({"image": blank(2500, 2500), "visualize": False, "labelMap": "rle"})
        codes: list[int] = []

        def ask_large() -> None:
            codes.append(server.http.post(PATH, content=body).json()["errorCode"])

        threads = [threading.Thread(target=ask_large) for _ in range(6)]
        for thread in threads:
            thread.start()
        small = [server.judge(image)["errorCode"] for _ in range(5)]
        assert len(codes) < 6  # large ones still wait for the one engine that takes them
        for thread in threads:
            thread.join()
    assert (small, codes) == ([0] * 5, [0] * 6)


def test_the_deadline_answers_when_it_passes_whatever_the_engines_do(
    random_bundle: Bundles, image: str
) -> None:
    limits = {"deadline_seconds": 0.5, "start_seconds": 30}
    with running(models=[str(random_bundle(1))], workers=1, limits=limits) as server:
        (engine,) = server.pids()
        os.kill(engine, signal.SIGSTOP)
        # Each new engine is stopped too: nobody but the clock can answer.
        over = threading.Event()
        spared = server.state.products.default.slot.current.detector  # type: ignore[union-attr]

        def stop_all() -> None:
            while not over.wait(0.005):
                for pid in spared.pids:
                    os.kill(pid, signal.SIGSTOP)

        thread = threading.Thread(target=stop_all)
        thread.start()
        try:
            assert server.judge(image)["errorCode"] == 429
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("encoding", ["array", "rle", "png"])
@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1)])
def test_the_longest_side_that_is_taken_can_be_answered(
    serve: Callable[..., Running],
    random_bundle: Bundles,
    shape: tuple[int, int],
    encoding: str,
) -> None:
    server = serve(models=[str(random_bundle(1))])
    answer = server.judge(blank(*shape), labelMap=encoding, visualize=True)
    assert (answer["errorCode"], answer.get("result", {}).get("size")) == (0, list(shape))
    longer = server.judge(blank(shape[0] + 1, shape[1] + 1), labelMap=encoding)
    assert (longer["errorCode"], "no side may be longer" in longer["errorMsg"]) == (413, True)
