import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from starlette.testclient import TestClient

from serving.api.access import new_key
from serving.api.admin import create_admin_app
from tests.serving.running import Running, until
from uad.cli import main
from uad.errors import RegistryError
from uad.hot_reload.pins import pin, pinned, unpin
from uad.registry import ModelRegistry

Serve = Callable[..., Running]
CHAMPION = "models:/cookie@champion"


@pytest.fixture
def cookie(cookie: ModelRegistry) -> ModelRegistry:
    """Three versions, the second one promoted."""
    cookie.promote("cookie", "2")
    return cookie


def version(server: Running, image: str) -> str:
    return server.judge(image)["result"]["modelVersion"]


def test_a_pin_overrules_promotions_until_it_is_taken_off(
    cookie: ModelRegistry, serve: Serve, image: str
) -> None:
    server = serve(models=[CHAMPION])
    assert version(server, image) == "2"
    pin("cookie", "1")
    until(lambda: version(server, image) == "1")
    cookie.promote("cookie", "3")
    known = server.http.get("/readyz").json()["result"]["models"]["cookie"]
    assert (known["pinned"], known["serving"]) == ("1", "1")
    assert unpin("cookie")
    until(lambda: version(server, image) == "3")


def test_a_move_made_in_mlflows_page_is_followed_and_recorded_as_external(
    cookie: ModelRegistry, serve: Serve, image: str
) -> None:
    server = serve(models=[CHAMPION])
    outside = MlflowClient(cookie.uri)
    outside.set_registered_model_alias("cookie", "champion", "3")
    until(lambda: version(server, image) == "3")
    until(lambda: "external" in str(outside.get_registered_model("cookie").tags))
    assert [(move.kind, move.to_version) for move in cookie.history("cookie")] == [
        ("promote", "2"),
        ("external", "3"),
    ]


def test_a_pin_needs_no_registry_for_a_version_that_served_here(
    cookie: ModelRegistry, serve: Serve, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(models=[CHAMPION])
    cookie.promote("cookie", "3")
    until(lambda: version(server, image) == "3")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    pin("cookie", "2")
    until(lambda: version(server, image) == "2")
    with pytest.raises(RegistryError, match="pin one of 2, 3"):
        pin("cookie", "1")


def test_a_server_starts_on_its_pin(cookie: ModelRegistry, serve: Serve, image: str) -> None:
    pin("cookie", "1")
    assert version(serve(models=[CHAMPION]), image) == "1"


def test_uad_pin_shows_sets_and_takes_off(
    cookie: ModelRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in (
        (["cookie"], "pinned to: nothing; versions on this machine: none"),
        (["cookie", "1"], "stays on version 1"),
        (["cookie"], "pinned to: 1; versions on this machine: 1"),
        (["cookie", "--off"], "follows the registry again"),
    ):
        with pytest.raises(SystemExit):
            main(["pin", *arguments])
        assert words in capsys.readouterr().out
    assert pinned("cookie") is None


def test_the_administrators_port_pins_polls_and_counts(
    cookie: ModelRegistry, serve: Serve, image: str
) -> None:
    server = serve(models=[CHAMPION], poll_seconds=3600, admin_port=1)
    admin = TestClient(create_admin_app(server.state), base_url="http://127.0.0.1:1")
    assert admin.put("/models/cookie/pin", json={"version": "1"}).status_code == 200
    until(lambda: version(server, image) == "1")
    assert admin.delete("/models/cookie/pin").status_code == 200
    until(lambda: version(server, image) == "2")
    cookie.promote("cookie", "3")
    assert admin.post("/models/cookie/poll").status_code == 200
    until(lambda: version(server, image) == "3")
    assert "uad_requests_total" in admin.get("/metrics").text
    assert server.http.get("/metrics").status_code == 404  # it is on the other port
    assert server.http.put("/models/cookie/pin", json={"version": "1"}).status_code == 404
    for body in ({}, {"version": 1}, {"version": "../1"}):
        assert admin.put("/models/cookie/pin", json=body).status_code == 422
    assert admin.put("/models/cookie/pin", json={"version": "9"}).status_code == 409
    assert admin.put("/models/nut/pin", json={"version": "1"}).status_code == 404


def test_a_browsers_page_cannot_reach_the_administrators_port_by_another_name(
    server: Running,
) -> None:
    for host in ("rebound.example:1", "127.0.0.1.rebound.example", "localhost.example"):
        admin = TestClient(create_admin_app(server.state), base_url=f"http://{host}")
        assert admin.get("/metrics").status_code == 421


def test_the_challenger_sees_what_the_champion_sees_and_disagreements_are_counted(
    cookie: ModelRegistry, serve: Serve, image: str
) -> None:
    cookie.promote("cookie", "3", alias="challenger")
    server = serve(models=[CHAMPION], shadow=True)
    shadow = server.state.products.default.shadow
    until(lambda: shadow.slot.current is not None)
    answers = []

    def asked(count: int) -> bool:
        answers.append(server.judge(image, alpha=0.5)["result"]["modelVersion"])
        return sum(shadow.outcomes.values()) >= count

    until(lambda: asked(5))
    assert set(answers) == {"2"}
    assert shadow.outcomes["agreed"] + shadow.outcomes["disagreed"] > 0
    assert shadow.outcomes["failed"] == 0
    text = server.http.get("/metrics").text
    assert re.search(r'uad_shadow_total\{outcome="(dis)?agreed",product="cookie"\} [1-9]', text)
    assert 'role="shadow",version="3"' in text


def test_a_shadow_without_a_challenger_is_no_trouble(
    cookie: ModelRegistry, serve: Serve, image: str
) -> None:
    server = serve(models=[CHAMPION], shadow=True)
    assert version(server, image) == "2"
    assert server.http.get("/readyz").status_code == 200


def test_polls_and_pins_ask_for_what_a_promotion_asks_for(
    cookie: ModelRegistry, serve: Serve, tmp_path: Path
) -> None:
    key, line = new_key("anna")
    (tmp_path / "keys.txt").write_text(line)
    server = serve(
        models=[CHAMPION], admin_port=1, page=True, access={"keys": str(tmp_path / "keys.txt")}
    )
    admin = TestClient(create_admin_app(server.state), base_url="http://127.0.0.1:1")
    asked: tuple[tuple[str, str, object], ...] = (
        ("POST", "/models/cookie/poll", None),
        ("PUT", "/models/cookie/pin", {"version": "1"}),
        ("DELETE", "/models/cookie/pin", None),
        ("POST", "/page/models/cookie/promote", {"version": "3", "champion": "2", "why": "x"}),
    )
    for method, path, body in asked:
        assert admin.request(method, path, json=body).status_code == 401
    own = {"Authorization": f"Bearer {key}"}
    foreign = {**own, "Origin": "http://elsewhere.example"}
    for method, path, body in asked:
        assert admin.request(method, path, json=body, headers=foreign).status_code == 403
        assert admin.request(method, path, json=body, headers=own).status_code == 200
