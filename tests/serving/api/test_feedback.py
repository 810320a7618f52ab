from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving.running import Running, until
from uad.client import Client
from uad.errors import RequestRefused
from uad.monitoring.judged_images import JudgedImages
from uad.registry import ModelRegistry
from uad.storage.paths import scores_dir

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
    words = said(keeping, 422, logId=log_id, verdict="good")["errorMsg"]
    assert "say which one you mean with 'image', from 0 to 1" in words
    assert said(keeping, logId=log_id, verdict="good", image=1)["result"]["image"] == f"{log_id}.1"
    assert "no verdict on image 2; it has: 0, 1" in refused(keeping, log_id, image=2)


def test_of_a_batch_of_which_one_image_is_kept_the_image_is_named_too(
    keeping: Running, image: str
) -> None:
    body = {"images": [image, "bm8gaW1hZ2U="], "visualize": False}
    log_id = keeping.http.post("/image-anomaly-detection/batch", json=body).json()["logId"]
    words = said(keeping, 422, logId=log_id, verdict="good")["errorMsg"]
    assert "this answer is about 2 images" in words
    assert "no verdict on image 1; it has: 0" in refused(keeping, log_id, image=1)
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


UNKNOWN = "0f8fad5b-d9cb-469f-a165-70867728950e"


def refused(server: Running, log_id: str, **values: Any) -> str:
    """What a person is told whose feedback cannot be recorded."""
    words: str = said(server, 404, logId=log_id, verdict="good", **values)["errorMsg"]
    return words


def test_a_log_id_that_no_answer_has_is_to_be_copied_again(
    keeping: Running, server: Running
) -> None:
    for asked in (keeping, server):  # `server` keeps no images
        assert "this is not a logId: copy `logId` from the answer" in refused(asked, "image 7")
        words = refused(asked, UNKNOWN)
        assert "no answer with this logId" in words
        assert "copy `logId` from the answer" in words
        assert "keep.images" not in words


def test_an_image_that_is_not_kept_is_told_how_to_keep_it(server: Running, image: str) -> None:
    log_id = server.judge(image)["logId"]  # a server that keeps nothing
    assert "--set keep.images=alarms" in refused(server, log_id)


def test_a_good_verdict_of_a_server_that_keeps_alarms_is_told_to_keep_all(
    serve: Serve, random_bundle: Bundles, image: str
) -> None:
    server = serve(models=[f"cookie={random_bundle(1)}"], keep={"images": "alarms"})
    log_id = server.judge(image, threshold=1e6)["logId"]
    assert "it raised no alarm" in refused(server, log_id)
    assert "--set keep.images=all" in refused(server, log_id)


def test_an_answer_of_before_a_restart_is_known_from_the_score_log(
    serve: Serve, cookie: ModelRegistry, image: str
) -> None:
    cookie.promote("cookie", "2")
    models = ["models:/cookie@champion"]
    log_id = serve(models=models).judge(image, threshold=0.0)["logId"]
    until(lambda: bool(list(scores_dir().rglob("*.jsonl"))))  # another thread writes it
    restarted = serve(models=models, keep={"images": "alarms"})
    assert "judged before that was set" in refused(restarted, log_id)
    assert "in the last 30 days" in refused(restarted, UNKNOWN)


def test_an_image_that_was_removed_to_make_room_is_told_so(keeping: Running, image: str) -> None:
    log_id = keeping.judge(image)["logId"]
    until(lambda: JudgedImages().get(log_id) is not None)
    JudgedImages().prune(0)
    words = refused(keeping, log_id)
    assert "removed again to make room" in words
    assert "--set keep.megabytes=4000" in words
    assert keeping.http.get(f"/page/models/cookie/images/{log_id}").json()["errorMsg"] == words


def test_an_image_whose_file_somebody_deleted_is_told_so(keeping: Running, image: str) -> None:
    log_id = keeping.judge(image)["logId"]
    until(lambda: JudgedImages().get(log_id) is not None)
    [kept] = JudgedImages().of_answer(log_id)
    JudgedImages().file(kept).unlink()
    assert "removed from the server's disk" in refused(keeping, log_id)
    assert JudgedImages().marked("cookie") == []


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
