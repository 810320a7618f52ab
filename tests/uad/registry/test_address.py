import pytest

from uad.errors import RegistryError
from uad.registry import ModelAddress


@pytest.mark.parametrize(
    ("text", "name", "alias", "version"),
    [
        ("models:/cookie@champion", "cookie", "champion", None),
        ("models:/bolt M8@line-2", "bolt M8", "line-2", None),
        ("models:/螺丝/12", "螺丝", None, "12"),
    ],
)
def test_an_address_is_read_and_written_back_as_it_was(
    text: str, name: str, alias: str | None, version: str | None
) -> None:
    address = ModelAddress.parse(text)

    assert (address.name, address.alias, address.version) == (name, alias, version)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["cookie", "models:/", "models:/cookie", "models:/cookie@", "models:/cookie/latest",
     "models:/a/b/1", "models:/cookie@champion/1", "models://cookie@champion", "models:/cookie/1 "],
)  # fmt: skip
def test_another_form_is_refused_with_the_right_ones(text: str) -> None:
    with pytest.raises(RegistryError, match=r"write models:/NAME@champion or models:/NAME/3"):
        ModelAddress.parse(text)


def test_the_challenger_of_a_product_named_like_an_alias_is_its_own() -> None:
    champion = ModelAddress.parse("models:/x-champion@champion")

    assert str(champion.with_alias("challenger")) == "models:/x-champion@challenger"
