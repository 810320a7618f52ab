import numpy as np
import pytest

from uad.models.teacher.distillation.formula.batches import (
    FormulaRecipe,
    FractalBatches,
    Purpose,
    categories,
)
from uad.models.teacher.distillation.formula.fractals import (
    FACTORS,
    FEWEST_MAPS,
    MOST_MAPS,
    Systems,
    attractors,
    draw,
    filling,
    random_systems,
    search,
    varied,
)


@pytest.fixture
def sierpinski() -> Systems:
    """Three maps that halve the distance to a corner of a triangle."""
    system = np.zeros((1, MOST_MAPS, 2, 3), np.float32)
    system[0, :3, :, :2] = np.eye(2) / 2
    system[0, :3, :, 2] = np.array([[0, 0], [1, 0], [0, 1]]) / 2
    return system


def test_the_chaos_game_leads_onto_the_attractor_of_the_system(sierpinski: Systems) -> None:
    points = attractors(np.random.default_rng(0), sierpinski, 64)[0]

    digits = (points * 2**10).astype(np.int64)
    carried = digits[:, 0] & digits[:, 1]  # in Sierpinski's triangle no binary digit is 1 in both
    assert np.ptp(points, 0) == pytest.approx([1, 1], abs=0.05)
    assert (carried < 4).mean() > 0.99


def test_a_map_is_chosen_as_often_as_its_determinant_says(sierpinski: Systems) -> None:
    sierpinski[0, 2, 0, 0] = 0.25

    points = attractors(np.random.default_rng(0), sierpinski, 96)[0]

    assert (points[:, 1] > 0.5).mean() == pytest.approx(1 / 5, abs=0.03)


def test_systems_have_two_to_eight_maps_of_parameters_within_one() -> None:
    systems = random_systems(np.random.default_rng(0), 200)

    maps = set((np.abs(systems).sum((2, 3)) > 0).sum(1))
    assert maps == set(range(FEWEST_MAPS, MOST_MAPS + 1))
    assert np.abs(systems).max() <= 1


def test_a_search_keeps_only_what_fills_its_picture() -> None:
    any_system = filling(np.random.default_rng(1), random_systems(np.random.default_rng(0), 30))

    kept = search(np.random.default_rng(0), 30, 0.15)

    assert len(kept) == 30
    assert np.median(any_system) < 0.15
    assert np.median(filling(np.random.default_rng(1), kept)) > 0.15


def test_a_variation_changes_one_parameter_in_all_maps_by_a_known_factor() -> None:
    systems = random_systems(np.random.default_rng(0), 40)

    changed = varied(np.random.default_rng(1), systems, FACTORS)

    for before, after in zip(systems[:, :2], changed[:, :2], strict=True):  # maps that all have
        ratio = after / before
        np.testing.assert_allclose(ratio[0], ratio[1], rtol=1e-5)
        assert (np.abs(ratio[0] - 1) > 1e-3).sum() <= 1
        assert np.abs(ratio[0].ravel()[:, None] - FACTORS).min(1).max() < 1e-5


def test_pictures_are_fractals_on_black_and_differ_within_a_category(sierpinski: Systems) -> None:
    pictures = draw(np.random.default_rng(0), np.repeat(sierpinski, 8, 0), 48)

    inked = pictures.any(3)
    assert pictures.shape == (8, 48, 48, 3)
    assert pictures.dtype == np.uint8
    assert 0.05 < inked.mean((1, 2)).min() <= inked.mean((1, 2)).max() < 0.8
    assert len({picture.tobytes() for picture in inked}) == 8


def test_a_lesson_returns_with_its_seed_and_number() -> None:
    recipe = FormulaRecipe(categories=5, edge_px=32, batch_size=4)

    def lesson(
        recipe: FormulaRecipe, purpose: Purpose, number: int
    ) -> tuple[bytes, tuple[int, ...]]:
        pictures, labels = FractalBatches(recipe, purpose, categories(recipe))[number]
        return pictures.tobytes(), tuple(labels)

    first = lesson(recipe, Purpose.TRAINING, 3)

    assert first == lesson(recipe, Purpose.TRAINING, 3)
    others = [
        lesson(recipe, Purpose.TRAINING, 4),
        lesson(recipe, Purpose.HELD_OUT, 3),
        lesson(recipe.model_copy(update={"seed": 1}), Purpose.TRAINING, 3),
    ]
    assert all(first[0] != other[0] for other in others)
