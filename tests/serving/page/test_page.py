from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from serving.api.access import new_key
from serving.api.admin import create_admin_app
from serving.api.sessions import COOKIE, LONGEST_SECONDS, Sessions
from tests.serving.running import Running, until
from uad.registry import ModelRegistry

Serve = Callable[..., Running]
Bundles = Callable[[int], Path]
PAGE = "/page/models/cookie"
VIEWS = ("/now", "/images", "/alpha", "/drift", "/versions")


@pytest.fixture
def locked(serve: Serve, random_bundle: Bundles, tmp_path: Path) -> tuple[Running, str, Path]:
    """A server with keys, a key, and the file of keys."""
    key, line = new_key("line4")
    file = tmp_path / "keys.txt"
    file.write_text(f"{line}\n")
    server = serve(
        models=[f"cookie={random_bundle(1)}"],
        keep={"images": "all"},
        access={"keys": str(file)},
    )
    return server, key, file


def found(server: Running, path: str) -> Any:
    answer = server.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_the_page_and_its_files_come_from_this_server_alone(server: Running) -> None:
    page = server.http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for name in ("app.js", "api.js", "now.js", "style.css", "icon.svg"):
        assert server.http.get(f"/page/files/{name}").status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_no_file_of_the_page_names_another_host() -> None:
    folder = Path(__file__).parents[3] / "serving/page/static"
    allowed = "http://www.w3.org/2000/svg"
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8").replace(allowed, "")
        assert "//" not in text.replace("// ", ""), file
        assert "innerHTML" not in text, file


@pytest.mark.parametrize("name", ["..%2f__init__.py", "nothing.js", "routes.py", "%00"])
def test_no_other_file_is_given_out(server: Running, name: str) -> None:
    assert server.http.get(f"/page/files/{name}").status_code == 404


def test_page_off_leaves_the_protocol_and_feedback(serve: Serve, random_bundle: Bundles) -> None:
    server = serve(models=[str(random_bundle(1))], page=False)
    for path in ("/", "/page/server", "/page/files/app.js"):
        assert server.http.get(path).status_code == 404
    assert server.http.get("/readyz").status_code == 200
    assert server.http.post("/feedback", json={}).status_code == 422


def test_with_keys_nothing_is_shown_without_one(locked: tuple[Running, str, Path]) -> None:
    server, key, _ = locked
    door = server.http.get("/")
    assert door.status_code == 401
    assert 'action="/page/session"' in door.text
    assert 'role="alert"' not in door.text
    for path in ("/page/server", "/page/files/app.js", *(PAGE + view for view in VIEWS)):
        assert server.http.get(path).status_code == 401, path
    assert server.http.post("/feedback", json={}).status_code == 401
    assert server.http.post(f"{PAGE}/try", json={}).status_code == 401
    assert server.http.get("/", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_a_person_signs_in_once_and_the_key_is_not_in_the_cookie(
    locked: tuple[Running, str, Path], image: str
) -> None:
    server, key, _ = locked
    with httpx.Client(base_url=server.url, timeout=60) as browser:
        refused = browser.post("/page/session", data={"key": "uad_wrong"})
        assert refused.status_code == 401
        assert "This key is not known" in refused.text
        welcome = browser.post("/page/session", data={"key": key})
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
        cookie = welcome.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert key not in cookie
        assert browser.get("/").status_code == 200
        assert browser.get(PAGE + "/now").status_code == 200
        judged = browser.post(f"{PAGE}/try", json={"image": image, "visualize": False})
        assert judged.status_code == 200
        other = {"Sec-Fetch-Site": "cross-site"}
        assert browser.post("/feedback", json={}, headers=other).status_code == 403
        plain = browser.post("/image-anomaly-detection", json={"image": image}, headers=other)
        assert plain.status_code == 401
        browser.post("/page/session/end")
        assert browser.get("/").status_code == 401


def test_a_key_that_is_taken_out_ends_its_sessions(locked: tuple[Running, str, Path]) -> None:
    server, key, file = locked
    with httpx.Client(base_url=server.url, timeout=60) as browser:
        browser.post("/page/session", data={"key": key})
        assert browser.get("/").status_code == 200
        file.write_text("# nobody\n")
        until(lambda: browser.get("/").status_code == 401)


def test_sessions_end_after_their_time() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    token = sessions.begin("key")
    assert sessions.key(token) == "key"
    assert sessions.key(token + "x") is None
    now[0] = LONGEST_SECONDS
    assert sessions.key(token) is None


def test_the_page_shows_what_was_judged(keeping: Callable[..., Running], image: str) -> None:
    server = keeping()
    alarm = server.judge(image, threshold=0.0)
    good = server.judge(image, threshold=1e9)
    assert server.state.writer.flush()
    now = found(server, f"{PAGE}/now")
    assert [each["isAnomalous"] for each in now["recent"]] == [True, False]
    assert [each["id"] for each in now["images"]] == [good["logId"], alarm["logId"]]
    assert (now["hours"][0]["images"], now["hours"][0]["alarms"]) == (2, 1)
    drawn_on = found(server, f"{PAGE}/images?good=true")["images"]
    assert [each["id"] for each in drawn_on] == [good["logId"]]
    unchanged = server.http.get(f"{PAGE}/now?revision={now['revision']}")
    assert (unchanged.status_code, unchanged.content) == (204, b"")
    one = found(server, f"{PAGE}/images/{alarm['logId']}")
    assert one["score"] == alarm["result"]["score"]
    assert one["facts"]["regions"] == alarm["result"]["regions"]
    assert sum(one["calibration"]["counts"]) == one["calibration"]["images"] == 19
    assert one["calibration"]["asHigh"] == round(20 * one["pValue"]) - 1
    for kind, media in (("preview", "jpeg"), ("heatmap", "png"), ("original", "png")):
        shown = server.http.get(f"{PAGE}/images/{alarm['logId']}/{kind}")
        assert shown.headers["content-type"] == f"image/{media}"
        assert "immutable" in shown.headers["cache-control"]
        assert shown.headers["x-content-type-options"] == "nosniff"
    assert server.http.get(f"{PAGE}/images/{alarm['logId']}/secret").status_code == 404
    assert server.http.get(f"{PAGE}/images/nothing/preview").status_code == 404


def test_an_image_of_one_product_is_not_shown_under_another(
    serve: Serve, random_bundle: Bundles, image: str
) -> None:
    models = [f"cookie={random_bundle(1)}", f"nut={random_bundle(2)}"]
    server = serve(models=models, keep={"images": "all"})
    name = server.judge(image)["logId"]
    assert server.state.writer.flush()
    assert server.http.get(f"/page/models/cookie/images/{name}").status_code == 200
    assert server.http.get(f"/page/models/nut/images/{name}").status_code == 404


def test_a_trial_is_judged_and_leaves_nothing_behind(
    keeping: Callable[..., Running], image: str
) -> None:
    server = keeping()
    tried = server.judge(image, path=f"{PAGE}/try")
    assert tried["result"]["score"] == server.judge(image)["result"]["score"]
    assert server.state.writer.flush()
    now = found(server, f"{PAGE}/now")
    assert len(now["recent"]) == len(now["images"]) == 1


def test_a_trial_that_is_reported_is_kept_but_is_no_image_of_the_line(
    serve: Serve, random_bundle: Bundles, image: str
) -> None:
    server = serve(models=[f"cookie={random_bundle(1)}"], keep={"images": "alarms"})
    tried = server.judge(image, path=f"{PAGE}/try?keep=true", threshold=1e6)
    report = {"logId": tried["logId"], "verdict": "defective"}
    assert server.http.post("/feedback", json=report).status_code == 200
    now = found(server, f"{PAGE}/now")
    assert [each["kind"] for each in now["images"]] == ["missed defect"]
    assert now["recent"] == []


def test_a_trial_cannot_be_kept_where_nothing_is_kept(server: Running, image: str) -> None:
    name = server.state.products.default.name
    tried = server.judge(image, path=f"/page/models/{name}/try?keep=true")
    assert tried["errorCode"] == 409
    assert "--set keep.images=alarms" in tried["errorMsg"]


def test_another_alpha_names_its_threshold_its_promise_and_who_changes_sides(
    keeping: Callable[..., Running], image: str
) -> None:
    server = keeping()
    server.judge(image)
    assert server.state.writer.flush()
    score = found(server, f"{PAGE}/now")["recent"][0]["score"]
    loose = found(server, f"{PAGE}/alpha?alpha=0.9")
    assert loose["promised"] == 0.9
    assert loose["compared"] == 1
    assert len(loose["changed"]) == int(loose["threshold"] < score <= loose["now"]["threshold"])
    strict = found(server, f"{PAGE}/alpha?alpha=0.001")
    assert strict["promised"] == pytest.approx(1 / 20)  # 19 calibration images
    for wrong in ("0", "1", "x", "nan"):
        assert server.http.get(f"{PAGE}/alpha?alpha={wrong}").status_code == 422


@pytest.fixture
def stocked(cookie: ModelRegistry, serve: Serve) -> Running:
    cookie.promote("cookie", "2", reason="the first", actor="anna")
    cookie.promote("cookie", "3", alias="challenger")
    return serve(models=["models:/cookie@champion"])


def test_versions_show_who_serves_who_waits_and_why(stocked: Running) -> None:
    told = found(stocked, f"{PAGE}/versions")
    assert told["serving"] == "2"
    aliases = {each["version"]: each["aliases"] for each in told["versions"]}
    assert aliases == {"1": [], "2": ["champion"], "3": ["challenger"]}
    [move] = told["history"]
    assert (move["to"], move["who"], move["why"]) == ("2", "anna", "the first")
    for each in told["versions"]:  # a version that serves is told to nobody how to serve it
        assert each["description"].endswith("not evaluated on test images yet")


def test_promotion_is_on_the_administrators_port_alone(
    stocked: Running, cookie: ModelRegistry
) -> None:
    asked = {"version": "3", "champion": "2", "why": "fewer false alarms", "who": "ben"}
    assert found(stocked, "/page/server")["mayPromote"] is False
    assert stocked.http.post(f"{PAGE}/promote", json=asked).status_code == 404
    admin = TestClient(create_admin_app(stocked.state), base_url="http://127.0.0.1:1")
    assert admin.get("/page/server").json()["result"]["mayPromote"] is True
    other = {"Sec-Fetch-Site": "cross-site"}
    assert admin.post(f"{PAGE}/promote", json=asked, headers=other).status_code == 403
    assert admin.post(f"{PAGE}/promote", json={**asked, "why": " "}).status_code == 422
    assert admin.post(f"{PAGE}/promote", json={**asked, "champion": "1"}).status_code == 409
    assert admin.post(f"{PAGE}/promote", json={**asked, "version": "../3"}).status_code == 422
    assert admin.post(f"{PAGE}/promote", json=asked).status_code == 200
    move = cookie.history("cookie")[-1]
    assert (move.to_version, move.reason) == ("3", "fewer false alarms")
    assert move.actor.startswith("ben (")


def test_the_administrators_port_wants_a_key_where_keys_are_on(
    locked: tuple[Running, str, Path],
) -> None:
    server, key, _ = locked
    admin = TestClient(create_admin_app(server.state), base_url="http://127.0.0.1:1")
    asked = {"version": "3", "champion": None, "why": "x"}
    assert admin.get("/").status_code == 401
    assert admin.post(f"{PAGE}/promote", json=asked).status_code == 401
    signed = {"Authorization": f"Bearer {key}"}
    assert admin.post(f"{PAGE}/promote", json=asked, headers=signed).status_code == 409
    assert COOKIE not in admin.cookies
