"""What 8 bits may cost, and that it is noticed where it costs more."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from uad.bundle import Bundle, read_bundle
from uad.data import load_dataset
from uad.images import read, resize
from uad.inference.engines import Engine, load_engine
from uad.inference.prepare import split_of
from uad.inference.quantization.check import Bounds, QuantizationCheck, objection
from uad.inference.quantization.quantize import Extremes
from uad.scoring.maps import Outputs

ANY_NOISE = Bounds(noise=99.0, maps=99.0)


def moved(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.roll(maps, (maps.shape[1] // 2, maps.shape[2] // 2), axis=(1, 2))


@dataclass
class Displaced:
    """An engine whose maps are moved by half their size: the same scores in wrong places."""

    inner: Engine
    name: str = "displaced"
    precision: str = "int8"
    key: str = "displaced/int8"

    def outputs(self, batch: NDArray[np.uint8]) -> Outputs:
        return {
            name: moved(values) if values.ndim == 3 else values
            for name, values in self.inner.outputs(batch).items()
        }

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    """One that was trained: its maps have something to lose."""
    return read_bundle(tiny_bundle)


@pytest.fixture
def examination(bundle: Bundle, parts: Path) -> QuantizationCheck:
    spec, dataset = bundle.manifest.input, load_dataset(parts, split_of(bundle))
    normals = [resize(read(s.path), (spec.height, spec.width)) for s in dataset.selection]
    return QuantizationCheck(bundle, load_engine(bundle), normals)


def test_float32_agrees_with_itself(bundle: Bundle, examination: QuantizationCheck) -> None:
    found = examination.of(load_engine(bundle), images=1)
    assert (found.noise, found.pixel_auroc.least_loss) == (0, 0)
    assert found.image_auroc.fp32 == found.image_auroc.int8
    assert found.maps == 0
    assert objection(found, Bounds(noise=0.0, loss=0.0, maps=0.0)) is None


def test_maps_that_go_wrong_are_noticed_though_the_scores_agree(
    bundle: Bundle, examination: QuantizationCheck
) -> None:
    found = examination.of(Displaced(load_engine(bundle)), images=1)
    assert abs(found.image_auroc.fp32 - found.image_auroc.int8) < 0.1
    assert found.pixel_auroc.least_loss > 0.005
    assert "pixel AUROC" in (objection(found, ANY_NOISE) or "")


def test_maps_of_normal_images_that_move_are_noticed_though_no_planted_defect_is_lost(
    bundle: Bundle, examination: QuantizationCheck
) -> None:
    found = examination.of(Displaced(load_engine(bundle)), images=1)
    assert found.maps is not None
    assert found.maps > 0.1
    assert "their maps by" in (objection(found, Bounds(noise=99.0, loss=1.0)) or "")
    assert objection(found, Bounds(noise=99.0, loss=1.0, maps=99.0)) is None


def test_one_odd_image_among_many_need_not_widen_the_ranges() -> None:
    values = np.ones((20, 1))
    values[7] = 100.0
    extremes = Extremes(["layer3"], lows=-values, highs=values)
    assert extremes.ranges() == {"layer3": (-100.0, 100.0)}
    assert extremes.ranges(outliers=0.1) == {"layer3": (-1.0, 1.0)}
