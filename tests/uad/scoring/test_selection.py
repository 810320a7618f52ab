from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.images import part
from uad.config.score import Distance
from uad.scoring.maps import describe
from uad.scoring.selection import (
    MOST,
    Choice,
    LevelMaps,
    candidates,
    choose_score,
    level_statistics,
    looked_at,
    plant_in,
)
from uad.scoring.synthetic_defects import plant

Model = Callable[[NDArray[np.uint8]], dict[Distance, LevelMaps]]
IMAGES = np.stack([part(seed, size=(64, 64)) for seed in range(4)])


def test_a_planted_defect_changes_the_image_where_its_mask_says_and_nowhere_else() -> None:
    for seed in range(30):
        image, mask = plant(IMAGES[0], np.random.default_rng(seed))
        changed = np.abs(image.astype(int) - IMAGES[0]).max(axis=2)
        assert 16 <= mask.sum() < mask.size / 4
        assert changed[mask].min() > 8
        assert changed[~mask].max() <= 8


def test_the_same_seed_plants_the_same_defect() -> None:
    first, second = (plant(IMAGES[0], np.random.default_rng(5))[0] for _ in range(2))
    assert np.array_equal(first, second)


def shares(levels_that_see: tuple[float, ...], seed: int = 0) -> Model:
    """A model whose levels see defects by these shares, on top of their own noise."""
    rng = np.random.default_rng(seed)

    def level_maps(images: NDArray[np.uint8]) -> dict[Distance, LevelMaps]:
        reference = np.stack([IMAGES[np.argmin([distance(i, k) for k in IMAGES])] for i in images])
        defect = np.abs(images.astype(np.float32) - reference).mean(axis=3) / 255
        levels = [
            np.float32(share) * defect[:, ::4, ::4]
            + rng.uniform(0.05, 0.15, (len(images), 16, 16)).astype(np.float32)
            for share in levels_that_see
        ]
        return {"mahalanobis": levels, "cosine": levels}

    return level_maps


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.median(np.abs(a.astype(int) - b)))


def chosen_for(model: Model) -> Choice:
    planted = plant_in(IMAGES)
    clean, defective = model(IMAGES), model(planted.images)
    return choose_score(clean, defective, planted.masks_at((16, 16)))


def test_a_blind_noisy_level_is_left_out() -> None:
    choice = chosen_for(shares((0.0, 1.0, 1.0)))
    assert choice.score.weights[0] < 1.0


def test_the_choice_says_why_and_shows_every_candidate() -> None:
    choice = chosen_for(shares((1.0, 1.0, 1.0)))
    assert "planted defects" in choice.score.reason
    assert list(choice.table) == [describe(score) for score in candidates(len(IMAGES))]
    assert all(0.0 <= value <= 1.0 for value in choice.table.values())


def test_of_many_selection_images_some_are_looked_at() -> None:
    assert len(looked_at(range(MOST))) == MOST
    assert list(looked_at(range(MOST + 2)))[:3] == [0, 2, 4]


def test_level_statistics_are_the_means_on_normal_images() -> None:
    levels = [np.full((2, 4, 4), 0.5, np.float32), np.full((2, 2, 2), 0.25, np.float32)]
    found = level_statistics(levels, "level")
    assert {name: float(value) for name, value in found.items()} == {"mean1": 0.5, "mean2": 0.25}
    assert level_statistics(levels, "none") == {}


def test_the_more_images_the_more_a_location_counts() -> None:
    part = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    spread = [
        np.ptp(level_statistics([part.repeat(n, axis=0)], "location")["mean1"]) for n in (2, 200)
    ]
    assert spread[0] < 0.2 < 0.6 < spread[1]
