"""One rule for what a person's word for a model stands for."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from uad.errors import BundleError, ConfigError, RegistryUnreachableError
from uad.hot_reload import open_bundle
from uad.registry import ModelRegistry, named_model

Bundles = Callable[[int], Path]
CHAMPION = "models:/cookie@champion"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def nobody() -> ModelRegistry:
    """A registry's address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return ModelRegistry(f"http://127.0.0.1:{port}")


def test_a_products_name_is_its_champion(here: Path, cookie: ModelRegistry) -> None:
    found = named_model("cookie", cookie)
    assert (found.place, found.product, found.remark) == (CHAMPION, "cookie", "")


@pytest.mark.parametrize("address", [CHAMPION, "models:/cookie/3", "models:/other@challenger"])
def test_an_address_is_taken_as_it_is(address: str, nobody: ModelRegistry) -> None:
    found = named_model(address, nobody)
    assert (found.place, found.product) == (address, None)


def test_a_bundles_folder_comes_before_the_product_of_its_name_and_this_is_said(
    here: Path, cookie: ModelRegistry, random_bundle: Bundles
) -> None:
    shutil.copytree(random_bundle(1), here / "cookie")
    found = named_model("cookie", cookie)
    assert (found.place, found.product) == ("cookie", None)
    assert CHAMPION in found.remark
    assert named_model("./cookie", cookie).remark == ""
    shutil.copytree(random_bundle(1), here / "other")
    assert named_model("other", cookie).remark == ""


def test_a_folder_of_photos_does_not_hide_a_product(here: Path, cookie: ModelRegistry) -> None:
    (here / "cookie").mkdir()
    assert named_model("cookie", cookie).place == CHAMPION
    (here / "photos").mkdir()
    with pytest.raises(BundleError, match="photos is not a bundle"):
        named_model("photos", cookie)


@pytest.mark.parametrize("name", ["cooky", "no/such/folder"])
def test_an_unknown_name_is_answered_with_the_products(
    name: str, here: Path, cookie: ModelRegistry
) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' is neither .* Products: cookie\."):
        named_model(name, cookie)


def test_a_registry_that_nobody_made_is_not_made_for_a_question(here: Path, uad_home: Path) -> None:
    with pytest.raises(ConfigError, match=r"There are no products yet\. Train one"):
        named_model("cookie", ModelRegistry())
    assert not (uad_home / "mlflow" / "mlflow.db").exists()


def test_a_registry_that_is_down_is_said_only_where_it_matters(
    here: Path, nobody: ModelRegistry, random_bundle: Bundles
) -> None:
    with pytest.raises(RegistryUnreachableError):
        named_model("cookie", nobody)
    with pytest.raises(ConfigError, match="neither a product nor the folder"):
        named_model("no/such/folder", nobody)
    shutil.copytree(random_bundle(1), here / "cookie")
    assert named_model("cookie", nobody).place == "cookie"


def test_the_bundle_of_a_products_name_is_its_champions(here: Path, cookie: ModelRegistry) -> None:
    cookie.promote("cookie", "2")
    assert open_bundle("cookie") == open_bundle("models:/cookie/2")
