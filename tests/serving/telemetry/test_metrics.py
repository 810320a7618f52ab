import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.telemetry.logs import JsonLines
from tests.serving.running import Running

Bundles = Callable[[int], Path]


def value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is not in\n{text}"
    return float(found[1])


def test_answers_are_counted_by_status_stage_and_verdict(
    serve: Callable[..., Running], random_bundle: Bundles, image: str
) -> None:
    server = serve(models=[f"cookie={random_bundle(1)}"])
    server.judge(image, threshold=-1.0)
    server.judge(image, threshold=99.0)
    server.judge("§")
    server.judge(image, "/models/nut/image-anomaly-detection")
    text = server.http.get("/metrics").text
    assert value(text, 'uad_requests_total{product="cookie",status="200"}') == 2
    assert value(text, 'uad_requests_total{product="cookie",status="400"}') == 1
    assert value(text, 'uad_requests_total{product="unknown",status="404"}') == 1
    assert value(text, 'uad_anomalous_total{product="cookie"}') == 1
    assert value(text, 'uad_p_value_count{product="cookie"}') == 2
    assert value(text, 'uad_score_ratio_count{product="cookie"}') == 1  # none below threshold 0
    for stage in ("receive", "queue", "decode", "infer", "encode"):
        name = f'uad_stage_seconds_count{{product="cookie",stage="{stage}"}}'
        assert value(text, name) >= 2
    assert value(text, 'uad_engines{product="cookie"}') == 1
    assert value(text, 'uad_queue{product="cookie"}') == 0


def test_a_request_is_logged_with_its_log_id(
    server: Running, image: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="serving.requests"):
        log_id = server.judge(image)["logId"]
    (record,) = [each for each in caplog.records if log_id in each.getMessage()]
    line = json.loads(JsonLines().format(record))
    assert (line["logId"], line["status"], line["level"]) == (log_id, 200, "info")
    assert line["scores"]
    assert "infer" in line["stages"]
