import base64
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.serving.running import Running, encoded
from uad.monitoring.judged_images import HEATMAP, PREVIEW, JudgedImages

Bundles = Callable[[int], Path]
Serve = Callable[..., Running]


@pytest.fixture
def serve_and_keep(serve: Serve, random_bundle: Bundles) -> Callable[[str], Running]:
    return lambda keep: serve(models=[f"cookie={random_bundle(1)}"], keep={"images": keep})


def kept(server: Running) -> list[str]:
    assert server.state.writer.flush()
    return [image.id for image in JudgedImages().newest("cookie", 9)]


def test_a_judged_image_is_kept_as_it_was_sent_with_its_verdict(
    serve_and_keep: Callable[[str], Running], image: str, part: np.ndarray
) -> None:
    server = serve_and_keep("all")
    answer = server.judge(image)
    assert kept(server) == [answer["logId"]]
    store = JudgedImages()
    [found] = store.of_answer(answer["logId"])
    result = answer["result"]
    assert store.content(found) == base64.b64decode(image)
    assert (found.score, found.threshold) == (result["score"], result["threshold"])
    assert (found.alpha, found.is_anomalous) == (result["alpha"], result["isAnomalous"])
    assert found.facts["size"] == result["size"]
    assert found.facts["regions"] == result["regions"]
    preview = cv2.imread(str(store.file(found, PREVIEW)))
    heatmap = cv2.imread(str(store.file(found, HEATMAP)), cv2.IMREAD_UNCHANGED)
    assert preview is not None
    assert heatmap is not None
    assert (preview.shape, heatmap.shape) == (part.shape, (*part.shape[:2], 4))


def test_only_alarms_are_kept_when_only_alarms_are_asked_for(
    serve_and_keep: Callable[[str], Running], image: str
) -> None:
    server = serve_and_keep("alarms")
    server.judge(image, threshold=1e9)
    alarm = server.judge(image, threshold=0.0)
    assert kept(server) == [alarm["logId"]]


def test_nothing_is_kept_unless_the_settings_ask_for_it(
    serve: Serve, random_bundle: Bundles, image: str, uad_home: Path
) -> None:
    server = serve(models=[str(random_bundle(1))])
    server.judge(image, threshold=0.0)
    assert server.state.writer.flush()
    assert not (uad_home / "images").exists()


def test_each_image_of_a_batch_is_kept_under_its_place_in_the_request(
    serve_and_keep: Callable[[str], Running], image: str, part: np.ndarray
) -> None:
    server = serve_and_keep("all")
    other = encoded(255 - part)
    answer = server.http.post(
        "/image-anomaly-detection/batch", json={"images": [image, "bm8gaW1hZ2U=", other]}
    ).json()
    assert [item["errorCode"] for item in answer["result"]] == [0, 415, 0]
    log_id = answer["logId"]
    assert sorted(kept(server)) == [log_id, f"{log_id}.2"]
    last = JudgedImages().of_answer(log_id)[-1]
    assert last.position == 2
    assert last.score == answer["result"][2]["result"]["score"]
    assert JudgedImages().content(last) == base64.b64decode(other)


def test_small_pictures_of_a_large_image_fit_a_screen_and_each_other(
    serve: Serve, random_bundle: Bundles
) -> None:
    server = serve(models=[f"cookie={random_bundle(1)}"], keep={"images": "all"})
    large = np.random.default_rng(0).integers(0, 256, (1301, 2700, 3), np.uint8)
    server.judge(encoded(large, ".jpg"))
    [name] = kept(server)
    store = JudgedImages()
    found = store.get(name)
    assert found is not None
    assert found.suffix == ".jpg"
    preview = cv2.imread(str(store.file(found, PREVIEW)))
    heatmap = cv2.imread(str(store.file(found, HEATMAP)), cv2.IMREAD_UNCHANGED)
    assert preview is not None
    assert heatmap is not None
    assert preview.shape[:2] == heatmap.shape[:2] == (309, 640)
