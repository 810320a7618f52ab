import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter

from flows.drift import drift
from tests.flows.conftest import deployed, read_until
from tests.uad.monitoring.judged import keep, word
from uad.bundle import read_bundle
from uad.cli import main
from uad.errors import RegistryError
from uad.monitoring.drift import Drift, detect_drift
from uad.monitoring.judged_images import JudgedImages
from uad.monitoring.score_log import ScoreLog
from uad.operations.drift import DriftReport, announced_first, report
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
        ScoreLog().add("parts", "1", engine, [(score, False)], at=at)


def quiet(calibration: list[float]) -> list[float]:
    """Scores of an ordinary day."""
    return list(np.random.default_rng(0).permutation(calibration))


def drifted(calibration: list[float]) -> list[float]:
    """Scores of a day on which every image is far from those of calibration."""
    return [score + max(calibration) for score in calibration] * 5


def test_scores_like_those_of_calibration_are_quiet(
    prefect_api: str, calibration: list[float]
) -> None:
    judged([max(calibration) * 9] * 50, hours_ago=30)  # before the time looked at
    judged(quiet(calibration))
    found = drift("parts")
    assert not found.detected
    assert found.images == len(calibration)


def test_the_newest_images_that_moved_it_are_shown_to_be_called_good_or_defective(
    calibration: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    store = JudgedImages()
    for number, score in enumerate(drifted(calibration)):
        ScoreLog().add("parts", "1", "onnxruntime/fp32", [(score, True, f"i{number}")])
    newest = f"i{len(drifted(calibration)) - 1}"
    store.say(keep(store, newest, alarm=True, product="parts"), word("good"))
    keep(store, "i1", alarm=True, product="parts", seed=1)
    with pytest.raises(SystemExit):
        main(["drift", "parts"])
    shown = capsys.readouterr()
    assert f"{newest}.png" in shown.out
    assert "anna (127.0.0.1): good" in shown.out
    assert "i1.png" not in shown.out  # not among the newest
    assert "Say good or defective" in " ".join(shown.err.split())


def test_higher_scores_are_reported_and_a_person_is_told_what_to_do(
    prefect_api: str, calibration: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.artifacts import Artifact

    judged(drifted(calibration))
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


def test_many_alarms_among_few_images_are_told_in_a_sentence_of_their_own(
    calibration: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    judged([max(calibration) * 9] * 4 + [min(calibration)])
    with pytest.raises(SystemExit) as stopped:
        main(["drift", "parts"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "No clear change yet" in shown
    assert "4 of 5. More than expected: 0 to" in shown
    assert "more alarms than expected" in shown
    assert "quiet" not in shown
    assert stopped.value.code == 3


def looked(version: str, hours_ago: float, found: Drift) -> DriftReport:
    """A look at the day before."""
    until = datetime.now(UTC) - timedelta(hours=hours_ago)
    return report("parts", version, until - timedelta(hours=24), until, found)


def test_what_lasts_is_announced_once_a_window_though_looks_run_side_by_side(
    uad_home: Path,
) -> None:
    found = detect_drift([1.0] * 20, [2.0] * 50, threshold=1.5, alpha=0.05)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(announced_first, [looked("1", 30, found)] * 4))
    assert sorted(together) == [False, False, False, True]
    assert not announced_first(looked("1", 20, found))
    assert announced_first(looked("1", 5, found))
    assert announced_first(looked("2", 4, found))


def test_scores_of_another_engine_are_not_compared_with_this_ones_calibration(
    prefect_api: str, calibration: list[float]
) -> None:
    judged([max(calibration) * 9] * 50, hours_ago=2, engine="openvino/int8")
    judged(quiet(calibration))
    found = drift("parts")
    assert not found.detected
    assert found.images == len(calibration)


def test_a_product_without_champion_is_named(prefect_api: str, registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match="parts"):
        drift("parts")


@pytest.fixture
def deploy(
    prefect_api: str, calibration: list[float], normals: Path
) -> Iterator["subprocess.Popen[str]"]:
    judged(quiet(calibration))
    with deployed(prefect_api, normals, "--drift", "15", "--promote", "always") as process:
        yield process


@pytest.mark.slow
def test_drifted_scores_begin_a_retraining_that_ends_with_a_challenger_and_quiet_ones_do_not(
    deploy: "subprocess.Popen[str]", calibration: list[float], registry: ModelRegistry
) -> None:
    for _ in range(2):
        read_until(deploy, "scores are like those of calibration")
    assert reasons() == []

    judged(drifted(calibration), hours_ago=0.5)
    read_until(deploy, "registered: models:/parts/2")
    read_until(deploy, "Flow run 'parts ", "Finished in state Completed()")
    deploy.send_signal(signal.SIGINT)
    assert deploy.wait(120) == 0
    assert reasons() == ["drift or defects"]
    made = registry.version("parts", "2")
    assert made.tags["uad.reason"] == "drift or defects"
    assert made.aliases == ("challenger",)  # though `--promote always` was asked for
    assert registry.champion("parts") == registry.version("parts", "1")


def reasons() -> list[str]:
    """Why each run of the deployment `retrain/parts` was begun."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("retrain/parts")
        own = DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}})
        runs = client.read_flow_runs(deployment_filter=own)
    return [run.parameters["reason"] for run in runs]
