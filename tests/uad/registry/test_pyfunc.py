import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest

from uad.errors import ImageError
from uad.images import decode
from uad.inference.detector import load_detector
from uad.registry import ModelRegistry, pyfunc

Bundles = Callable[[int], Path]


@pytest.fixture(autouse=True)
def champion(cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")


def text(seed: int) -> str:
    picture = np.random.default_rng(seed).integers(0, 256, (20 + seed, 30, 3), np.uint8)
    return base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode("ascii")


def test_mlflow_loads_the_champion_and_agrees_with_the_detector(
    cookie: ModelRegistry, random_bundle: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(cookie.uri)
    model = mlflow.pyfunc.load_model("models:/cookie@champion")
    answer = model.predict(pd.DataFrame({"image": [text(1), text(2)]}))
    detector = load_detector(random_bundle(1))
    for seed, row in zip((1, 2), answer.to_dict("records"), strict=True):
        (expected,) = detector.detect([decode(base64.b64decode(text(seed)))])
        assert row["score"] == expected.score
        assert row["is_anomalous"] == expected.is_anomalous
        labels = cv2.imdecode(
            np.frombuffer(base64.b64decode(row["label_map"]), np.uint8), cv2.IMREAD_UNCHANGED
        )
        assert np.array_equal(labels, expected.label_map)
        assert json.loads(row["regions"]) == [
            region.as_json() for region in expected.regions.listed
        ]
    assert list(model.predict({"image": [text(1)]})["score"]) == list(answer["score"][:1])


def test_the_model_has_a_signature_and_an_example_that_it_answers(
    cookie: ModelRegistry,
) -> None:
    mlflow.set_tracking_uri(cookie.uri)
    model = mlflow.pyfunc.load_model("models:/cookie/1")
    assert model.metadata.signature.inputs.input_names() == ["image"]
    assert len(model.predict(model.input_example)) == 1


def test_a_path_is_no_image_for_a_model_that_may_stand_on_a_network(
    random_bundle: Bundles, tmp_path: Path
) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(base64.b64decode(text(1)))
    model = pyfunc._load_pyfunc(str(random_bundle(1)))
    with pytest.raises(ImageError, match="base64"):
        model.predict(pd.DataFrame({"image": [str(file)]}))


@pytest.mark.slow
def test_mlflow_models_serve_answers_over_http(cookie: ModelRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/cookie@champion",
        "--env-manager",
        "local",
    ]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it calls uvicorn by name
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--port", str(port)],
        env={**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": cookie.uri},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        body = {"dataframe_split": {"columns": ["image"], "data": [[text(1)]]}}
        while True:
            try:
                answer = httpx.post(f"http://127.0.0.1:{port}/invocations", json=body, timeout=30)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert answer.status_code == 200
        assert answer.json()["predictions"][0]["score"] > 0
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
