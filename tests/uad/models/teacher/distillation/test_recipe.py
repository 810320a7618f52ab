import pytest

from uad.config import load_settings
from uad.errors import ConfigError
from uad.models.teacher.distillation.recipe import DistillationRecipe, Stage


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    recipe = DistillationRecipe(learning_rate=1.0, warmup=0.1)

    rates = [recipe.rate(progress / 100) for progress in range(101)]

    assert rates[10] == pytest.approx(1.0)
    assert max(rates) == rates[10]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.0)


def test_the_clock_ends_the_schedule_when_images_come_too_slowly() -> None:
    recipe = DistillationRecipe(images=1000, minutes=1.0)

    assert recipe.progress(100, 30) == 0.5
    assert recipe.progress(900, 30) == 0.9
    assert recipe.progress(0, 120) == 1.0


def test_without_a_clock_only_images_count() -> None:
    assert DistillationRecipe(images=1000).progress(100, 1e9) == 0.1


def test_crops_grow_towards_the_size_of_use() -> None:
    stages = (
        Stage(until=0.5, edge_px=64, batch_size=8),
        Stage(until=1.0, edge_px=128, batch_size=4),
    )
    recipe = DistillationRecipe(stages=stages)

    assert [recipe.stage(share).edge_px for share in (0.0, 0.49, 0.5, 1.0)] == [64, 64, 128, 128]


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="epochs"):
        load_settings(DistillationRecipe, None, ["epochs=3"])
