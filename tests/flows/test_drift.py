from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from flows.drift import drift
from uad.bundle import read_bundle
from uad.cli import main
from uad.errors import RegistryError
from uad.journal import ScoreJournal
from uad.registry import ModelRegistry


@pytest.fixture
def calibration(registry: ModelRegistry, random_bundle: Callable[[int], Path]) -> list[float]:
    """The calibration scores of the champion of `parts`."""
    registry.register(random_bundle(1), "parts")
    registry.promote("parts", "1")
    return list(read_bundle(random_bundle(1)).manifest.calibration["onnxruntime/fp32"].scores)


def judged(
    scores: list[float], *, hours_ago: float = 1.0, engine: str = "onnxruntime/fp32"
) -> None:
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    for score in scores:
        ScoreJournal().add("parts", "1", engine, [(score, False)], at=at)


def test_scores_like_those_of_calibration_are_quiet(
    prefect_api: str, calibration: list[float]
) -> None:
    judged([max(calibration) * 9] * 50, hours_ago=30)  # before the time looked at
    judged(list(np.random.default_rng(0).permutation(calibration)))
    found = drift("parts")
    assert not found.detected
    assert found.images == len(calibration)


def test_higher_scores_are_reported_and_a_person_is_told_what_to_do(
    prefect_api: str, calibration: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.artifacts import Artifact

    judged([score + max(calibration) for score in calibration] * 5)
    found = drift("parts")
    table = Artifact.get("drift-parts")

    assert found.detected
    assert "drift or defects" in found.advice
    assert table is not None
    assert "drift or defects" in str(table.data)

    with pytest.raises(SystemExit) as stopped:
        main(["drift", "parts"])
    assert stopped.value.code == 3
    assert "drift or defects" in capsys.readouterr().out


def test_scores_of_another_engine_are_not_compared_with_this_ones_calibration(
    prefect_api: str, calibration: list[float]
) -> None:
    judged([max(calibration) * 9] * 50, hours_ago=2, engine="openvino/int8")
    judged(list(np.random.default_rng(0).permutation(calibration)))
    found = drift("parts")
    assert not found.detected
    assert found.images == len(calibration)


def test_a_product_without_champion_is_named(prefect_api: str, registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match="parts"):
        drift("parts")
