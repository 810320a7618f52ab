from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.models.products import Product
from serving.telemetry.score_recorder import ScoreRecorder
from serving.workers.messages import Reply, Verdict
from tests.serving.running import Running
from uad.hot_reload import ModelSlot
from uad.monitoring.score_log import ScoreLog
from uad.registry import ModelRegistry

REPLY = Reply(200, b"", verdicts=(Verdict(0.5, 0.4, 0.01, True), Verdict(0.1, 0.4, 0.5, False)))
ENGINE = "onnxruntime/fp32"
EARLIER = datetime.now(UTC) - timedelta(days=1)


def product(registered_name: str) -> Product:
    return Product("left", ModelSlot(), registered_name=registered_name)


def test_the_scores_of_a_registered_product_are_kept_under_its_registered_name() -> None:
    ScoreRecorder(ScoreLog()).keep(product("cookie"), "3", ENGINE, REPLY)
    kept = ScoreLog().read("cookie", "3", EARLIER)
    assert [(scored.score, scored.is_anomalous) for scored in kept] == [(0.5, True), (0.1, False)]
    assert {scored.engine for scored in kept} == {ENGINE}


def test_a_bundle_folder_and_a_server_told_not_to_keep_nothing(uad_home: Path) -> None:
    ScoreRecorder(ScoreLog()).keep(product(""), "3", ENGINE, REPLY)
    ScoreRecorder(None).keep(product("cookie"), "3", ENGINE, REPLY)
    assert not list(uad_home.rglob("*.jsonl"))


def test_a_disk_that_refuses_is_told_once_and_stops_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cookie").write_text("a file where the folder should be")
    score_recorder = ScoreRecorder(ScoreLog(tmp_path))
    score_recorder.keep(product("cookie"), "3", ENGINE, REPLY)
    score_recorder.keep(product("cookie"), "3", ENGINE, REPLY)
    assert caplog.text.count("drift will not be seen") == 1


def test_a_served_champion_leaves_its_scores(
    serve: Callable[..., Running],
    registry: ModelRegistry,
    random_bundle: Callable[[int], Path],
    image: str,
) -> None:
    registry.register(random_bundle(1), "cookie")
    registry.promote("cookie", "1")
    answer = serve(models=["models:/cookie@champion"], workers=1).judge(image)
    [kept] = ScoreLog().read("cookie", "1", EARLIER)
    assert kept.score == pytest.approx(answer["result"]["score"])
    assert kept.engine == ENGINE
