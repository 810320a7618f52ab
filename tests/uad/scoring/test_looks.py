import pytest

from uad.images import Colour
from uad.scoring.looks import Look, Looks, ToldOnce

GREY, COLOUR = Look("grey", 1.0), Look("colour", 1.0)


@pytest.mark.parametrize(
    ("known", "image", "words"),
    [
        (GREY, COLOUR, "The image is in colour, but all images that set the threshold are grey."),
        (COLOUR, GREY, "The image is grey, but all images that set the threshold are in colour."),
    ],
)
def test_an_image_of_the_other_kind_is_told(known: Look, image: Look, words: str) -> None:
    looks = Looks.common([known, known])
    [sentence] = looks.warnings(image)
    assert sentence.startswith(words)
    assert looks.warnings(known) == ()


@pytest.mark.parametrize("other", ["colour", None])
def test_a_model_that_knows_both_kinds_or_is_not_sure_says_nothing(other: Colour | None) -> None:
    looks = Looks.common([GREY, Look(other, 1.0)])
    assert looks.warnings(GREY) == looks.warnings(COLOUR) == ()


def test_an_image_that_is_neither_is_not_told() -> None:
    assert Looks.common([GREY]).warnings(Look(None, 1.0)) == ()


def test_an_image_of_another_shape_is_told() -> None:
    looks = Looks.common([Look("grey", 1.0), Look("grey", 4 / 3)])
    for usual in (0.8, 1.0, 1.3, 1.9):
        assert looks.warnings(Look("grey", usual)) == ()
    for odd in (0.5, 3.0):
        [sentence] = looks.warnings(Look("grey", odd))
        assert "(width / height 1.00 to 1.33)" in sentence
    assert "(width / height 1.00)" in Looks.common([GREY]).warnings(Look("grey", 2.0))[0]


def test_a_warning_is_told_once_however_often_it_comes() -> None:
    once = ToldOnce()
    assert once.new(["a", "b", "a"]) == ["a", "b"]
    assert once.new(["b", "c"]) == ["c"]
