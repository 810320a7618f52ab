"""`models` takes a product's bare name for its champion, as every command does."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.models.model_names import place_of
from serving.settings import ServerSettings
from tests.serving.running import Running, until
from uad.hot_reload import BundleStore
from uad.registry import ModelRegistry

Bundles = Callable[[int], Path]
Serve = Callable[..., Running]
CHAMPION = "models:/cookie@champion"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which has no folder `cookie`."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_bare_name_is_followed_and_served_under_it_even_without_the_registry(
    serve: Serve, cookie: ModelRegistry, uad_home: Path, image: str
) -> None:
    cookie.promote("cookie", "1")
    server = serve(models=["cookie"])
    assert server.judge(image, "/models/cookie/image-anomaly-detection")["errorCode"] == 0
    cookie.promote("cookie", "2")
    until(lambda: server.judge(image)["result"]["modelVersion"] == "2")

    (uad_home / "mlflow" / "mlflow.db").unlink()
    again = serve(models=["line4=cookie"])
    answer = again.judge(image, "/models/line4/image-anomaly-detection")
    assert answer["result"]["modelVersion"] == "2"


def test_a_product_that_does_not_exist_yet_can_be_waited_for(
    registry: ModelRegistry, uad_home: Path
) -> None:
    waiting = ServerSettings(models=("cookie",), wait_for_model=True)
    assert place_of("cookie", waiting, BundleStore) == CHAMPION


def test_a_bundles_folder_comes_first_and_the_product_is_named(
    here: Path, cookie: ModelRegistry, random_bundle: Bundles, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(random_bundle(1), here / "cookie")
    assert place_of("cookie", ServerSettings(), BundleStore) == "cookie"
    assert f"The folder is used. For the product write {CHAMPION}" in caplog.text
