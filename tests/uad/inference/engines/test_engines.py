"""Every engine computes the same maps, however images are batched."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bundles import write_random_bundle
from uad.bundle import Bundle, read_bundle
from uad.errors import EngineError
from uad.inference.engines import Engine, LevelMaps, load_engine

Batch = NDArray[np.uint8]
EXACT = ["onnxruntime", "openvino", "paddle"]


@pytest.fixture(scope="module", params=EXACT)
def engine(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[Engine]:
    """Each float32 engine, loaded once: Paddle's takes seconds."""
    loaded = load_engine(bundle, request.param, precision="fp32")
    yield loaded
    loaded.close()


def difference(ours: LevelMaps, theirs: LevelMaps) -> float:
    return max(float(np.abs(a - b).max() / b.max()) for a, b in zip(ours, theirs, strict=True))


def joined(parts: list[LevelMaps]) -> LevelMaps:
    return [np.concatenate(level) for level in zip(*parts, strict=True)]


def reference(bundle: Bundle, batch: Batch) -> LevelMaps:
    return load_engine(bundle, "onnxruntime").level_maps(batch)


def test_float32_engines_agree(engine: Engine, bundle: Bundle, batch: Batch) -> None:
    maps = engine.level_maps(batch)
    assert engine.key == f"{engine.name}/fp32"
    assert [level.shape for level in maps] == [(5, 8, 8), (5, 4, 4), (5, 2, 2)]
    assert all(level.dtype == np.float32 for level in maps)
    assert difference(maps, reference(bundle, batch)) < 1e-3


@pytest.mark.parametrize("name", EXACT[1:])
def test_they_agree_on_the_cosine_distance_too(name: str, tmp_path: Path, batch: Batch) -> None:
    bundle = read_bundle(write_random_bundle(tmp_path / "bundle", 5, distance="cosine"))
    with closing(load_engine(bundle, name, precision="fp32")) as engine:
        assert difference(engine.level_maps(batch), reference(bundle, batch)) < 1e-3


def test_a_batch_equals_its_images_one_by_one_also_the_last_ragged_one(
    engine: Engine, batch: Batch
) -> None:
    together = joined([engine.level_maps(batch[:3]), engine.level_maps(batch[3:])])
    singles = joined([engine.level_maps(image[None]) for image in batch])
    assert difference(together, singles) < 1e-5


def test_results_stay_what_they_were_when_the_engine_runs_again(
    engine: Engine, batch: Batch
) -> None:
    first = engine.level_maps(batch[:1])
    kept = [level.copy() for level in first]
    engine.level_maps(batch[1:2])
    for now, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_threads_that_share_an_engine_get_their_own_images_maps(
    engine: Engine, batch: Batch
) -> None:
    expected = [engine.level_maps(image[None]) for image in batch]
    wrong: list[int] = []

    def ask(index: int) -> None:
        answers = [engine.level_maps(batch[index][None]) for _ in range(10)]
        wrong.extend(index for maps in answers if difference(maps, expected[index]) > 1e-5)

    asking = [threading.Thread(target=ask, args=(index,)) for index in range(len(batch))]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert not wrong


def test_an_image_that_is_a_view_is_read_as_it_looks(engine: Engine, batch: Batch) -> None:
    mirrored = batch[:, :, ::-1]
    copied = engine.level_maps(np.ascontiguousarray(mirrored))
    assert difference(engine.level_maps(mirrored), copied) < 1e-6


def test_bfloat16_differs_from_float32_by_a_little(bundle: Bundle, batch: Batch) -> None:
    try:
        engine = load_engine(bundle, "openvino", precision="bf16")
    except EngineError as exc:
        assert "no bf16" in str(exc)
        pytest.skip("this processor has no bf16 instructions")
    maps = engine.level_maps(batch)
    assert engine.key == "openvino/bf16"
    assert 0 < difference(maps, reference(bundle, batch)) < 0.1


def test_float32_means_float32_where_the_library_would_choose_bfloat16(
    bundle: Bundle, batch: Batch
) -> None:
    maps = load_engine(bundle, "openvino").level_maps(batch)
    assert difference(maps, reference(bundle, batch)) < 1e-4
