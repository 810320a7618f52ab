import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serving.running import Running, until
from uad.bundle import MANIFEST
from uad.errors import ServingError
from uad.registry import ModelRegistry

Bundles = Callable[[int], Path]
Serve = Callable[..., Running]
CHAMPION = "models:/cookie@champion"


class Traffic:
    """What continuous clients saw."""

    def __init__(self) -> None:
        self.failed: list[object] = []
        self.versions: list[str] = []

    def ask(self, server: Running, image: str) -> None:
        answer = server.judge(image)
        if answer["errorCode"]:
            self.failed.append(answer)
        else:
            self.versions.append(answer["result"]["modelVersion"])


@contextmanager
def traffic(server: Running, image: str, clients: int = 2) -> Iterator[Traffic]:
    """Clients that ask without a pause until the block ends."""
    seen, over = Traffic(), threading.Event()

    def client() -> None:
        while not over.is_set():
            try:
                seen.ask(server, image)
            except Exception as exc:  # noqa: BLE001 - any failure is what the test looks for
                seen.failed.append(exc)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_promotions_under_load_lose_no_request(
    serve: Serve, cookie: ModelRegistry, image: str
) -> None:
    cookie.promote("cookie", "1")
    server = serve(models=[CHAMPION])
    with traffic(server, image) as seen:
        for version in ("2", "3", "1"):
            cookie.promote("cookie", version)
            until(lambda v=version: seen.versions[-1:] == [v])
    assert seen.failed == []
    assert list(dict.fromkeys(seen.versions)) == ["1", "2", "3"]
    assert seen.versions[-1] == "1"


def altered(bundle: Path, copy: Path, golden: float) -> Path:
    """A bundle that promises other golden scores than it gives."""
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / MANIFEST).read_text())
    for entry in manifest["calibration"].values():
        entry["golden_scores"] = [golden] * len(entry["golden_scores"])
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


def test_a_version_that_fails_its_check_leaves_the_old_one_serving_and_is_reported(
    serve: Serve, registry: ModelRegistry, random_bundle: Bundles, image: str, tmp_path: Path
) -> None:
    registry.register(random_bundle(1), "cookie")
    registry.register(altered(random_bundle(2), tmp_path / "bad", golden=0.123), "cookie")
    registry.register(random_bundle(3), "cookie")
    registry.promote("cookie", "1")
    server = serve(models=[CHAMPION])

    def known() -> dict[str, object]:
        return server.http.get("/readyz").json()["result"]["models"]["cookie"]

    with traffic(server, image) as seen:
        registry.promote("cookie", "2")
        until(lambda: known()["failed"] == ["2"])
        assert (known()["serving"], known()["desired"]) == ("1", "2")
        assert server.http.get("/readyz").status_code == 200
        registry.promote("cookie", "3")
        until(lambda: seen.versions[-1:] == ["3"])
    assert seen.failed == []
    assert "2" not in seen.versions


def test_the_engines_of_a_replaced_version_end(serve: Serve, cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "1")
    server = serve(models=[CHAMPION])
    (old,) = server.pids()
    cookie.promote("cookie", "2")
    until(lambda: server.pids() not in ([], [old]))
    until(lambda: not Path(f"/proc/{old}").exists())


def test_without_a_champion_it_does_not_start_and_says_once_how_to_get_one(
    serve: Serve,
    registry: ModelRegistry,
    random_bundle: Bundles,
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry.register(random_bundle(1), "cookie")
    with pytest.raises(ServingError, match="uad promote cookie") as refused:
        serve(models=[CHAMPION])
    assert str(refused.value) not in caplog.text
