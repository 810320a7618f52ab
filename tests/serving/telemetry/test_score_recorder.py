from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.models.products import Product
from serving.telemetry.background_writer import BackgroundWriter
from serving.telemetry.recorders import ScoreRecorder
from serving.workers.messages import ImageVerdict, Reply
from tests.serving.running import Running
from uad.hot_reload import ModelSlot
from uad.monitoring.score_log import ScoreLog
from uad.registry import ModelRegistry

REPLY = Reply(
    200,
    b"",
    verdicts=(ImageVerdict(0.5, 0.4, 0.01, True), ImageVerdict(0.1, 0.4, 0.5, False, position=2)),
)
ENGINE = "onnxruntime/fp32"
EARLIER = datetime.now(UTC) - timedelta(days=1)


def product(registered_name: str) -> Product:
    return Product("left", ModelSlot(), registered_name=registered_name)


@pytest.fixture
def writer() -> Iterator[BackgroundWriter]:
    made = BackgroundWriter()
    yield made
    made.close()


def test_the_scores_of_a_registered_product_are_kept_under_its_registered_name(
    writer: BackgroundWriter,
) -> None:
    ScoreRecorder(ScoreLog(), writer).keep(product("cookie"), "3", ENGINE, "a-b", REPLY)
    assert writer.flush()
    kept = ScoreLog().read("cookie", "3", EARLIER)
    assert [(scored.score, scored.is_anomalous) for scored in kept] == [(0.5, True), (0.1, False)]
    assert {scored.engine for scored in kept} == {ENGINE}
    assert [scored.image for scored in kept] == ["a-b", "a-b.2"]


def test_a_bundle_folder_and_a_server_told_not_to_keep_nothing(
    uad_home: Path, writer: BackgroundWriter
) -> None:
    ScoreRecorder(ScoreLog(), writer).keep(product(""), "3", ENGINE, "a", REPLY)
    ScoreRecorder(None, writer).keep(product("cookie"), "3", ENGINE, "a", REPLY)
    assert writer.flush()
    assert not list(uad_home.rglob("*.jsonl"))


def test_a_disk_that_refuses_is_told_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, writer: BackgroundWriter
) -> None:
    (tmp_path / "cookie").write_text("a file where the folder should be")
    score_recorder = ScoreRecorder(ScoreLog(tmp_path), writer)
    score_recorder.keep(product("cookie"), "3", ENGINE, "a", REPLY)
    score_recorder.keep(product("cookie"), "3", ENGINE, "b", REPLY)
    assert writer.flush()
    assert caplog.text.count("drift will not be seen") == 1
    assert writer.dropped["scores"] == 2


def test_a_served_champion_leaves_its_scores(
    serve: Callable[..., Running],
    registry: ModelRegistry,
    random_bundle: Callable[[int], Path],
    image: str,
) -> None:
    registry.register(random_bundle(1), "cookie")
    registry.promote("cookie", "1")
    server = serve(models=["models:/cookie@champion"], workers=1)
    answer = server.judge(image)
    assert server.state.writer.flush()
    [kept] = ScoreLog().read("cookie", "1", EARLIER)
    assert kept.score == pytest.approx(answer["result"]["score"])
    assert (kept.engine, kept.image) == (ENGINE, answer["logId"])
