"""Every engine computes the same maps, however images are batched."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from tests.bundles import write_random_bundle
from uad.bundle import Bundle, read_bundle
from uad.config.score import PartName
from uad.errors import EngineError
from uad.inference.engines import Engine, load_engine
from uad.scoring.maps import Outputs

Batch = NDArray[np.uint8]
EXACT = ["onnxruntime", "openvino", "paddle"]


@pytest.fixture(scope="module", params=EXACT)
def engine(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[Engine]:
    """Each float32 engine, loaded once: Paddle's takes seconds."""
    loaded = load_engine(bundle, request.param, precision="fp32")
    yield loaded
    loaded.close()


def difference(ours: Outputs, theirs: Outputs) -> float:
    assert list(ours) == list(theirs)
    return max(float(np.abs(ours[name] - b).max() / b.max()) for name, b in theirs.items())


def joined(parts: list[Outputs]) -> Outputs:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def reference(bundle: Bundle, batch: Batch) -> Outputs:
    return load_engine(bundle, "onnxruntime").outputs(batch)


def test_float32_engines_agree(engine: Engine, bundle: Bundle, batch: Batch) -> None:
    found = engine.outputs(batch)
    assert engine.key == f"{engine.name}/fp32"
    assert {name: values.shape for name, values in found.items()} == {
        "map1": (5, 8, 8),
        "map2": (5, 4, 4),
        "map3": (5, 2, 2),
        "memory": (5, 2, 2),
        "whole_image": (5,),
    }
    assert all(values.dtype == np.float32 for values in found.values())
    assert difference(found, reference(bundle, batch)) < 1e-3


@pytest.mark.parametrize("name", EXACT[1:])
@pytest.mark.parametrize("parts", [["memory", "whole_image"], ["student", "whole_image"]])
def test_they_agree_without_a_part_and_compute_nothing_of_it(
    name: str, parts: list[PartName], tmp_path: Path, batch: Batch
) -> None:
    bundle = read_bundle(write_random_bundle(tmp_path / "bundle", 5, parts=parts))
    with closing(load_engine(bundle, name, precision="fp32")) as engine:
        assert difference(engine.outputs(batch), reference(bundle, batch)) < 1e-3
    stored = onnx.load(bundle.model_path).graph.initializer
    assert any(array.name.startswith("student") for array in stored) == ("student" in parts)


@pytest.mark.parametrize("name", EXACT[1:])
def test_they_agree_on_the_cosine_distance_too(name: str, tmp_path: Path, batch: Batch) -> None:
    bundle = read_bundle(write_random_bundle(tmp_path / "bundle", 5, distance="cosine"))
    with closing(load_engine(bundle, name, precision="fp32")) as engine:
        assert difference(engine.outputs(batch), reference(bundle, batch)) < 1e-3


def test_a_batch_equals_its_images_one_by_one_also_the_last_ragged_one(
    engine: Engine, batch: Batch
) -> None:
    together = joined([engine.outputs(batch[:3]), engine.outputs(batch[3:])])
    singles = joined([engine.outputs(image[None]) for image in batch])
    assert difference(together, singles) < 1e-5


def test_results_stay_what_they_were_when_the_engine_runs_again(
    engine: Engine, batch: Batch
) -> None:
    first = engine.outputs(batch[:1])
    kept = {name: values.copy() for name, values in first.items()}
    engine.outputs(batch[1:2])
    for name, values in first.items():
        np.testing.assert_array_equal(values, kept[name])


def test_threads_that_share_an_engine_get_their_own_images_maps(
    engine: Engine, batch: Batch
) -> None:
    expected = [engine.outputs(image[None]) for image in batch]
    wrong: list[int] = []

    def ask(index: int) -> None:
        answers = [engine.outputs(batch[index][None]) for _ in range(10)]
        wrong.extend(index for maps in answers if difference(maps, expected[index]) > 1e-5)

    asking = [threading.Thread(target=ask, args=(index,)) for index in range(len(batch))]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert not wrong


def test_an_image_that_is_a_view_is_read_as_it_looks(engine: Engine, batch: Batch) -> None:
    mirrored = batch[:, :, ::-1]
    copied = engine.outputs(np.ascontiguousarray(mirrored))
    assert difference(engine.outputs(mirrored), copied) < 1e-6


def test_bfloat16_differs_from_float32_by_a_little(bundle: Bundle, batch: Batch) -> None:
    try:
        engine = load_engine(bundle, "openvino", precision="bf16")
    except EngineError as exc:
        assert "no bf16" in str(exc)
        pytest.skip("this processor has no bf16 instructions")
    maps = engine.outputs(batch)
    assert engine.key == "openvino/bf16"
    assert 0 < difference(maps, reference(bundle, batch)) < 0.1


def test_float32_means_float32_where_the_library_would_choose_bfloat16(
    bundle: Bundle, batch: Batch
) -> None:
    maps = load_engine(bundle, "openvino").outputs(batch)
    assert difference(maps, reference(bundle, batch)) < 1e-4
