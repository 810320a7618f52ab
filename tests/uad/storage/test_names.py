from pathlib import Path

import pytest

from uad.data.versions import check_name as check_dataset_name
from uad.data.versions import dataset_names, is_stored
from uad.errors import DataError, InvalidNameError, RegistryError
from uad.storage.names import check_name, place_of


@pytest.mark.parametrize(
    "name", ["cookie", "bolt M8", "螺丝", "पेंच", "Schraube_ä.2-b", "3", "a" * 100]
)
def test_products_and_datasets_take_the_same_names(name: str) -> None:
    assert check_name(name) == check_dataset_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty"),
        ("a/b", "solidus is not allowed"),
        ("a\nb", "is not allowed"),
        ("cookie@1", "commercial at is not allowed"),
        (".hidden", "neither a letter nor a digit"),
        ("-rf", "neither a letter nor a digit"),
        ("a" * 101, "too long"),
        ("螺" * 80, "too long"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_the_reason_and_the_rule(
    name: str, reason: str
) -> None:
    for check in (check_name, check_dataset_name):
        with pytest.raises(InvalidNameError, match=reason) as caught:
            check(name)
        assert "letters and digits of any script" in str(caught.value)
        assert isinstance(caught.value, DataError) and isinstance(caught.value, RegistryError)


def test_one_name_in_two_spellings_of_unicode_is_one_name() -> None:
    assert check_name("re\u0301sume\u0301") == "r\u00e9sum\u00e9"


def test_the_folder_of_all_images_names_no_dataset() -> None:
    with pytest.raises(InvalidNameError, match="keeps the images of all datasets"):
        check_dataset_name("objects")


@pytest.mark.parametrize("data", ["a/b", "../x", "\0", "x" * 5000, "", "."])
def test_what_cannot_be_a_name_is_simply_not_stored(data: str) -> None:
    assert not is_stored(data)
    assert dataset_names() == []


def test_a_place_stays_readable_and_inside_its_folder(tmp_path: Path) -> None:
    assert place_of(tmp_path, "bolt M8") == tmp_path / "bolt M8"
    assert place_of(tmp_path, "螺丝", suffix=".lock") == tmp_path / "螺丝.lock"
    odd = {place_of(tmp_path, name) for name in ("a/b", "a%2Fb", "..", ".", "../a", "a:b")}
    assert len(odd) == 6
    assert {place.parent for place in odd} == {tmp_path}


@pytest.mark.parametrize("earlier", ["%E8%9E%BA%E4%B8%9D", "e89ebae4b89d"])
def test_state_under_an_earlier_spelling_is_used_where_it_lies(
    tmp_path: Path, earlier: str
) -> None:
    (tmp_path / earlier).mkdir()

    assert place_of(tmp_path, "螺丝") == tmp_path / earlier
