import numpy as np
import pytest

from uad.models.teacher.distillation.camera import Camera
from uad.models.teacher.distillation.fields import PATTERNS
from uad.models.teacher.distillation.scenes import draw_scene, palette
from uad.models.teacher.distillation.stream import CropStream, prefetching


@pytest.mark.parametrize("draw", sorted(set(PATTERNS), key=lambda draw: draw.__name__))
def test_a_pattern_is_grey_within_its_range_and_not_flat(draw: object) -> None:
    fields = [draw(np.random.default_rng(seed), 64) for seed in range(6)]  # type: ignore[operator]

    for field in fields:
        assert field.shape == (64, 64)
        assert field.dtype == np.float32
        assert 0 <= field.min() <= field.max() <= 1
    assert max(float(field.std()) for field in fields) > 0.05


def test_scenes_differ_from_each_other_and_return_with_their_seed() -> None:
    first, second, again = (draw_scene(np.random.default_rng(seed), 64) for seed in (1, 2, 1))

    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert np.abs(first.astype(int) - second.astype(int)).mean() > 5
    np.testing.assert_array_equal(first, again)


def test_a_palette_keeps_some_contrast() -> None:
    spans = [np.ptp(palette(np.random.default_rng(seed)).astype(int), 0).max() for seed in range(9)]

    assert min(spans) > 5


def test_a_stream_returns_with_its_seed() -> None:
    one, same, other = (
        CropStream((seed,), scene_px=64, pool=3, crops_a_scene=2).batch(5, 32) for seed in (1, 1, 2)
    )

    assert one.shape == (5, 32, 32, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_stream_renews_its_scenes() -> None:
    stream = CropStream((0,), scene_px=64, pool=2, crops_a_scene=1)
    stream.batch(2, 32)
    before = [scene.copy() for scene in stream._pool]
    stream.batch(8, 32)

    assert all(not np.array_equal(new, old) for new, old in zip(stream._pool, before, strict=True))


def test_every_degradation_keeps_shape_and_type() -> None:
    camera = Camera(np.random.default_rng(0), noise_edge=64)
    scene = draw_scene(np.random.default_rng(0), 64)

    for _ in range(30):
        crop = camera.shoot(scene, 48)
        assert crop.shape == (48, 48, 3)
        assert crop.dtype == np.uint8


@pytest.mark.slow
def test_the_drawing_process_delivers_in_the_order_asked() -> None:
    with prefetching((0,)) as crops:
        crops.ask(2, 32)
        crops.ask(1, 64)

        assert crops.take().shape == (2, 32, 32, 3)
        assert crops.take().shape == (1, 64, 64, 3)
