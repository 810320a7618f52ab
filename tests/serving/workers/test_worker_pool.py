import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from serving.settings import Limits, ServerSettings
from serving.workers.admission import Pace
from serving.workers.messages import Job, Reply, engine_spec
from serving.workers.pool import WorkerPool
from tests.serving.running import PATIENCE_SECONDS, encoded, until
from uad.errors import BundleError, RequestRefused

Bundles = Callable[[int], Path]


@pytest.fixture
def start(random_bundle: Bundles) -> Iterator[Callable[..., WorkerPool]]:
    """Starts engines of one bundle; they end with the test."""
    opened = []

    def engines(workers: int = 1, batch: int = 1, **limits: Any) -> WorkerPool:
        patient = {"deadline_seconds": PATIENCE_SECONDS, **limits}
        settings = ServerSettings.model_validate({"batch": batch, "limits": patient})
        opened.append(WorkerPool(engine_spec(random_bundle(1), settings), workers))
        return opened[-1]

    yield engines
    for each in opened:
        each.close()
        each.join(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def big() -> bytes:
    """A body that keeps an engine busy for a good part of a second."""
    noise = np.random.default_rng(0).integers(0, 256, (2500, 4000, 3), np.uint8)
    return body(encoded(noise, ".jpg"))


def body(image: str, **options: Any) -> bytes:
    return json.dumps({"image": image, "visualize": False, "labelMap": "rle", **options}).encode()


def ask(engines: WorkerPool, content: bytes) -> Future[Reply]:
    return engines.submit(Job("log-id", "1", content))


def kill(engines: WorkerPool) -> None:
    for pid in engines.pids:
        os.kill(pid, signal.SIGKILL)


@contextmanager
def at_work(engines: WorkerPool, content: bytes) -> Iterator[Future[Reply]]:
    """A request that an engine has begun."""
    before = computed(engines)
    waiting = ask(engines, content)
    until(lambda: computed(engines) > before + 0.02 or waiting.done())
    assert not waiting.done()
    yield waiting


def computed(engines: WorkerPool) -> float:
    """Seconds that the engines have computed."""
    return sum(psutil.Process(pid).cpu_times().user for pid in engines.pids)


def test_a_request_whose_engine_dies_is_answered_by_another(
    start: Callable[..., WorkerPool], big: bytes
) -> None:
    engines = start()
    with at_work(engines, big) as waiting:
        kill(engines)
        assert waiting.result(PATIENCE_SECONDS).status == 200
    assert len(engines.pids) == 1


def test_the_log_record_of_a_lost_engine_keeps_no_request_in_memory(
    start: Callable[..., WorkerPool], big: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    engines = start()
    with at_work(engines, big) as waiting:
        kill(engines)
        waiting.result(PATIENCE_SECONDS)
    [lost] = [each for each in caplog.records if "engine process was lost" in each.message]
    assert isinstance(lost.args, tuple)
    assert not any(isinstance(each, BaseException) for each in lost.args)  # its frames hold it


def test_a_request_that_kills_two_engines_is_refused_and_others_go_on(
    start: Callable[..., WorkerPool], big: bytes, image: str
) -> None:
    engines = start()
    before = time.monotonic()
    ask(engines, big).result(PATIENCE_SECONDS)
    a_part_of_the_work = (time.monotonic() - before) / 3
    waiting = ask(engines, big)
    while not waiting.done():
        time.sleep(a_part_of_the_work)
        kill(engines)
        until(lambda: bool(engines.pids) or waiting.done())
    assert waiting.result().status == 422
    assert "made two engines fail" in json.loads(waiting.result().body)["errorMsg"]
    assert ask(engines, body(image)).result(PATIENCE_SECONDS).status == 200


def test_an_engine_that_died_while_idle_costs_no_request(
    start: Callable[..., WorkerPool], image: str
) -> None:
    engines = start(workers=2)
    until(lambda: len(engines.pids) == 2)
    before = engines.pids
    kill(engines)
    assert ask(engines, body(image)).result(PATIENCE_SECONDS).status == 200
    until(lambda: len(engines.pids) == 2)
    assert not set(before) & set(engines.pids)


def test_an_engine_that_is_stopped_is_replaced_and_its_request_answered_by_another(
    start: Callable[..., WorkerPool], image: str
) -> None:
    engines = start()
    (stopped,) = engines.pids
    os.kill(stopped, signal.SIGSTOP)
    assert ask(engines, body(image)).result(PATIENCE_SECONDS).status == 200
    assert engines.pids != [stopped]


def test_an_engine_that_is_stopped_at_work_costs_no_request(
    start: Callable[..., WorkerPool], big: bytes
) -> None:
    engines = start()
    with at_work(engines, big) as waiting:
        os.kill(engines.pids[0], signal.SIGSTOP)
        assert waiting.result(PATIENCE_SECONDS).status == 200


def test_an_image_that_takes_too_long_is_refused_and_the_engine_replaced(
    start: Callable[..., WorkerPool], big: bytes, image: str
) -> None:
    engines = start(work_seconds=0.05)
    before = engines.pids
    reply = ask(engines, big).result(PATIENCE_SECONDS)
    assert (reply.status, "takes longer" in reply.body.decode()) == (422, True)
    until(lambda: engines.pids not in ([], before))


def test_an_engine_that_hangs_before_it_reads_does_not_block_the_front(
    start: Callable[..., WorkerPool], image: str
) -> None:
    engines = start(work_seconds=1.0)
    os.kill(engines.pids[0], signal.SIGSTOP)
    longer_than_a_socket_buffer = body("A" * 8_000_000)
    assert ask(engines, longer_than_a_socket_buffer).result(PATIENCE_SECONDS).status == 415
    assert ask(engines, body(image)).result(PATIENCE_SECONDS).status == 200


def test_an_image_that_needs_too_much_memory_is_refused_and_the_engine_lives(
    start: Callable[..., WorkerPool], big: bytes, image: str
) -> None:
    engines = start(memory_bytes=64 * 2**20)
    before = engines.pids
    reply = ask(engines, big).result(PATIENCE_SECONDS)
    assert reply.status in (400, 413)
    assert ask(engines, body(image)).result(PATIENCE_SECONDS).status == 200
    assert engines.pids == before


def test_requests_that_wait_together_are_judged_together_and_answered_as_if_alone(
    start: Callable[..., WorkerPool], big: bytes, image: str
) -> None:
    other = encoded(np.full((40, 30, 3), 200, np.uint8))
    asked = [body(image), body("bm8gaW1hZ2U="), body(other, threshold=0.0), body(image)]
    alone, engines = start(), start(batch=3)
    expected = [ask(alone, content).result(PATIENCE_SECONDS) for content in asked]
    with at_work(engines, big):
        waiting = [ask(engines, content) for content in asked]
        found = [each.result(PATIENCE_SECONDS) for each in waiting]
    assert [reply.together for reply in found] == [3, 3, 3, 1]
    assert [reply.status for reply in found] == [200, 415, 200, 200]
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs)


def test_who_loses_an_engine_together_with_others_is_tried_again_alone(
    start: Callable[..., WorkerPool], big: bytes, image: str
) -> None:
    engines = start(batch=2)
    with at_work(engines, big):
        waiting = [ask(engines, big), ask(engines, body(image))]
    until(lambda: all(each.running() for each in waiting))
    before = computed(engines)
    until(lambda: computed(engines) > before + 0.05)
    kill(engines)
    found = [each.result(PATIENCE_SECONDS) for each in waiting]
    assert [(reply.status, reply.together) for reply in found] == [(200, 1), (200, 1)]


def test_many_images_of_one_request_share_inferences(
    start: Callable[..., WorkerPool], image: str
) -> None:
    other = encoded(np.full((40, 30, 3), 200, np.uint8))
    options = {"visualize": False, "labelMap": "rle"}
    asked = json.dumps({"images": [image, other, "bm8gaW1hZ2U=", other, image], **options})
    job = Job("log-id", "1", asked.encode(), many=True)
    alone, together = (start(batch=batch).submit(job).result() for batch in (1, 3))
    assert_same(alone, together)
    codes = [item["errorCode"] for item in json.loads(together.body)["result"]]
    assert codes == [0, 0, 415, 0, 0]


def assert_same(ours: Reply, theirs: Reply) -> None:
    """But for the scores' last digits: the sums of a batch come in another order."""
    words = [re.sub(r'"score":[^,]*,', "", reply.body.decode()) for reply in (ours, theirs)]
    assert words[0] == words[1]
    scores = [[verdict.score for verdict in reply.verdicts] for reply in (ours, theirs)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_closing_answers_what_was_accepted(start: Callable[..., WorkerPool], image: str) -> None:
    engines = start()
    waiting = [ask(engines, body(image)) for _ in range(20)]
    engines.close()
    assert [each.result(PATIENCE_SECONDS).status for each in waiting] == [200] * 20
    engines.join(PATIENCE_SECONDS)
    assert engines.pids == []


def test_a_request_nobody_waits_for_any_more_is_not_worked_on(
    start: Callable[..., WorkerPool], big: bytes, image: str
) -> None:
    engines = start()
    with at_work(engines, big):
        unwanted, wanted = ask(engines, big), ask(engines, body(image))
        assert unwanted.cancel()
        assert wanted.result(PATIENCE_SECONDS).status == 200
    assert engines.queued == 0


def test_a_queue_that_would_outlast_the_deadline_is_closed_with_a_time_to_come_back(
    start: Callable[..., WorkerPool], big: bytes
) -> None:
    engines = start(deadline_seconds=1.0)
    ask(engines, big).result(PATIENCE_SECONDS)
    assert engines.service_seconds is not None
    accepted = []
    with pytest.raises(RequestRefused) as refused:
        for _ in range(200):
            accepted.append(ask(engines, big))  # noqa: PERF401 - until it is refused
    assert refused.value.status == 429
    assert (refused.value.retry_after_seconds or 0) >= 1
    assert len(accepted) <= 1 + 1.0 / engines.service_seconds * 2
    assert {each.result(PATIENCE_SECONDS).status for each in accepted} <= {200, 429}


def test_work_that_waited_longer_than_its_deadline_is_dropped_before_it_runs(
    start: Callable[..., WorkerPool], big: bytes, image: str
) -> None:
    engines = start(deadline_seconds=0.1)
    with at_work(engines, big):
        late = ask(engines, body(image))
        assert late.result(PATIENCE_SECONDS).status == 429
        assert "infer" not in late.result().seconds


def test_a_bundle_that_cannot_be_loaded_is_named_and_leaves_no_process(
    random_bundle: Bundles, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(random_bundle(1), tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"no graph")
    before = children()
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        WorkerPool(engine_spec(broken, ServerSettings()), 1)
    assert children() == before


def test_a_version_that_takes_too_long_to_load_is_given_up(random_bundle: Bundles) -> None:
    settings = ServerSettings.model_validate({"limits": {"start_seconds": 0.01}})
    before = children()
    with pytest.raises(BundleError, match="no answer in time"):
        WorkerPool(engine_spec(random_bundle(1), settings), 1)
    assert children() == before


def children() -> set[int]:
    """Processes that this one started and has not ended."""
    return {child.pid for child in psutil.Process().children()}


def test_an_idle_engine_takes_a_request_however_slow_the_last_one_was() -> None:
    pace = Pace(Limits(deadline_seconds=1.0))
    pace.note(60.0)
    pace.refuse_if_too_long(queued=0, engines=1)
    with pytest.raises(RequestRefused):
        pace.refuse_if_too_long(queued=1, engines=1)
