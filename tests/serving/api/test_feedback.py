from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving.running import Running, until
from uad.client import Client
from uad.errors import RequestRefused
from uad.monitoring.judged_images import JudgedImages

Serve = Callable[..., Running]
Bundles = Callable[[int], Path]
WHO = {"who": "anna", "note": "a reflection"}


@pytest.fixture
def keeping(serve: Serve, random_bundle: Bundles) -> Running:
    return serve(models=[f"cookie={random_bundle(1)}"], keep={"images": "all"})


def said(server: Running, expected: int = 200, headers: Any = None, **values: Any) -> Any:
    answer = server.http.post("/feedback", json=values, headers=headers)
    assert answer.status_code == expected, answer.text
    return answer.json()


def test_a_persons_word_is_recorded_with_who_and_when(keeping: Running, image: str) -> None:
    log_id = keeping.judge(image, threshold=0.0)["logId"]
    answer = said(keeping, logId=log_id, verdict="good", **WHO)
    assert answer["result"] == {"image": log_id, "judged": "defective", "said": "good"}
    [kept] = JudgedImages().marked("cookie")
    [word] = kept.words
    assert (word.said, word.note, word.author) == ("good", "a reflection", "anna (127.0.0.1)")
    assert word.at > kept.at


def test_the_python_client_tells_it_what_a_person_says(keeping: Running, image: str) -> None:
    log_id = keeping.judge(image, threshold=0.0)["logId"]
    with Client(keeping.url) as client:
        client.feedback(log_id, "good", **WHO)
        with pytest.raises(RequestRefused):
            client.feedback("unknown", "good")
    [kept] = JudgedImages().marked("cookie")
    [word] = kept.words
    assert (word.said, word.note) == ("good", "a reflection")


def test_of_a_batch_the_image_is_named(keeping: Running, image: str) -> None:
    body = {"images": [image, image], "visualize": False}
    log_id = keeping.http.post("/image-anomaly-detection/batch", json=body).json()["logId"]
    until(lambda: len(JudgedImages().of_answer(log_id)) == 2)  # another thread keeps them
    refused = said(keeping, 422, logId=log_id, verdict="good")
    assert "say which one you mean with 'image', from 0 to 1" in refused["errorMsg"]
    assert said(keeping, logId=log_id, verdict="good", image=1)["result"]["image"] == f"{log_id}.1"
    said(keeping, 404, logId=log_id, verdict="good", image=2)


def test_of_a_batch_of_which_one_image_is_kept_the_image_is_named_too(
    keeping: Running, image: str
) -> None:
    body = {"images": [image, "bm8gaW1hZ2U="], "visualize": False}
    log_id = keeping.http.post("/image-anomaly-detection/batch", json=body).json()["logId"]
    refused = said(keeping, 422, logId=log_id, verdict="good")
    assert "this answer is about 2 images" in refused["errorMsg"]
    said(keeping, 404, logId=log_id, verdict="good", image=1)
    assert said(keeping, logId=log_id, verdict="good", image=0)["result"]["image"] == log_id


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"logId": "x"},
        {"verdict": "good"},
        {"logId": "x", "verdict": "bad"},
        {"logId": 3, "verdict": "good"},
        {"logId": "x", "verdict": "good", "image": -1},
        {"logId": "x", "verdict": "good", "note": "n" * 1001},
        {"logId": "x", "verdict": "good", "<script>": 1},
        [],
        "good",
    ],
)
def test_a_wrong_body_is_told_what_to_send(keeping: Running, body: Any) -> None:
    answer = keeping.http.post("/feedback", json=body)
    assert answer.status_code == 422
    assert '"verdict": "good"' in answer.json()["errorMsg"]
    assert "script" not in answer.text


def test_an_image_that_is_not_kept_is_told_how_to_keep_it(
    keeping: Running, server: Running, image: str
) -> None:
    log_id = server.judge(image)["logId"]  # a server that keeps nothing
    for asked in (server, keeping):
        answer = said(asked, 404, logId=log_id, verdict="good")
        assert "--set keep.images=alarms" in answer["errorMsg"]


def test_a_page_of_another_site_cannot_speak_for_who_looks_at_it(
    keeping: Running, image: str
) -> None:
    log_id = keeping.judge(image)["logId"]
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ):
        said(keeping, 403, headers=headers, logId=log_id, verdict="good")
    said(keeping, headers={"Origin": keeping.url}, logId=log_id, verdict="good")
    assert len(JudgedImages().marked("cookie")[0].words) == 1


def test_a_body_that_is_too_long_is_refused(keeping: Running) -> None:
    assert keeping.http.post("/feedback", content=b"x" * 20_000).status_code == 413
