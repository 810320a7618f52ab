"""A week of a plant in minutes: the clock is the test's, the runs and servers are real.

Every night at three a scheduled run of a real deployment retrains on a camera's folder; by day the
champion judges eighty parts, and in the evening somebody looks for drift. What happens:

    Mon  the first images                    Fri  the run's process is killed while it trains
    Tue  more images                         Sat  two people promote at once; at noon the light
    Wed  a batch that is broken in part           changes
    Thu  settings that train a worse model   Sun  a person chooses images, and promotes
"""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from flows.deployments import deployment
from flows.drift import DriftReport, drift
from flows.resume import revive_lost
from flows.retrain import Retraining, retrain
from flows.schedule import Schedule
from tests.flows.conftest import TINY
from tests.images import Array, part, write_mvtec
from uad.bundle import read_bundle
from uad.data import load_dataset
from uad.data.versions import history, read_version, verify
from uad.errors import RegistryError
from uad.evaluation import evaluate
from uad.hot_reload import open_bundle
from uad.inference.detector import load_detector
from uad.monitoring.score_log import ScoreLog
from uad.registry import ModelRegistry
from uad.registry.gate_verdict import MAX_DROP
from uad.storage.paths import checkpoints_dir

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
A_DAYS_PARTS = 80
NOON = 30
"""Parts judged before the light changes."""
LONG = {**TINY, "training": {"epochs": 40, "min_steps": 0, "batch_size": 4}}
CARELESS = {**TINY, "training": {"epochs": 1, "min_steps": 0, "learning_rate": 1e-6}}


def under_new_light(seed: int) -> Array:
    """A good part, after a lamp that flickers was put in."""
    noise = np.random.default_rng([seed, 2]).normal(0, 60, (48, 64, 1))
    return np.clip(part(seed) + noise, 0, 255).astype(np.uint8)


@dataclass
class Plant:
    """The camera, the line, and what is known of both."""

    camera: Path
    client: SyncPrefectClient
    deployment: UUID
    clock: datetime
    registry: ModelRegistry = field(default_factory=ModelRegistry)
    seeds: int = 3000
    served: dict[str, int] = field(default_factory=dict)
    moves: list[str] = field(default_factory=list)
    """Each version that became champion, in order."""

    def drop(self, count: int, make: Callable[[int], Array] = part) -> list[Path]:
        """The camera's new images."""
        made = [self.camera / f"train/good/{self._seed()}.png" for _ in range(count)]
        for file in made:
            cv2.imwrite(str(file), make(int(file.stem)))
        return made

    def scheduled(self, **parameters: Any) -> Any:
        """Tonight's run, as the scheduler makes it."""
        return self.client.create_flow_run_from_deployment(
            self.deployment, parameters=parameters, state=Scheduled(scheduled_time=self.clock)
        )

    def night(self, **parameters: Any) -> Retraining:
        """The scheduled run of three o'clock; its outcome, with the champion checked."""
        before = self.registry.champion("parts") if self.moves else None
        outcome = self.run(self.scheduled(**parameters).id)
        self.judge(outcome, before.version if before else None, parameters)
        return outcome

    def run(self, run_id: UUID) -> Retraining:
        """What a runner does with a run that is due."""
        flow_run = self.client.read_flow_run(run_id)
        outcome = run_flow(retrain, flow_run=flow_run, parameters=flow_run.parameters)
        assert isinstance(outcome, Retraining)
        return outcome

    def judge(self, outcome: Retraining, before: str | None, parameters: dict[str, Any]) -> None:
        """The champion is the one that an evaluation of both, made apart from the run, names."""
        better = before is None or not self.is_worse(outcome, before)
        moves = better and not outcome.unchanged and parameters.get("promote") != "never"
        assert self.champion == (outcome.version if moves else before)
        if moves:
            self.moves.append(outcome.version)

    def is_worse(self, outcome: Retraining, champion: str) -> bool:
        """By more than the gate's rule, or for a person to decide, on the test images."""
        new, old = (self.figures(version, outcome) for version in (outcome.version, champion))
        more = (new[kind] - old[kind] for kind in ("false_alarms", "missed"))
        return any(count >= 2 for count in more) or any(
            new[name] < old[name] - drop - 1e-9 for name, drop in MAX_DROP.items()
        )

    def figures(self, version: str, outcome: Retraining) -> dict[str, float]:
        samples = load_dataset(outcome.dataset).test
        with closing(load_detector(open_bundle(f"models:/parts/{version}"))) as detector:
            return evaluate(detector, samples).metrics()

    def day(self, make: Callable[[int], Array] = part, after: int = A_DAYS_PARTS) -> None:
        """The champion judges a day's parts; `make` makes those from number `after` on."""
        champion = str(self.champion)
        morning, kept = self.clock.replace(hour=6), ScoreLog()
        with closing(load_detector(open_bundle("models:/parts@champion"))) as detector:
            for number in range(A_DAYS_PARTS):
                seed = self._seed()
                [found] = detector.detect([make(seed) if number >= after else part(seed)])
                at = morning + timedelta(minutes=10 * number)
                kept.add(
                    "parts",
                    champion,
                    detector.engine.key,
                    [(found.score, found.is_anomalous)],
                    at=at,
                )
        self.served[champion] = self.served.get(champion, 0) + A_DAYS_PARTS

    def evening(self) -> DriftReport:
        """A look at the day's scores at ten; then it is three in the morning again."""
        found: DriftReport = drift("parts", hours=20, now=self.clock.replace(hour=22))
        self.clock += timedelta(days=1)
        return found

    @property
    def champion(self) -> str | None:
        found = self.registry.champion("parts")
        return found.version if found else None

    def _seed(self) -> int:
        self.seeds += 1
        return self.seeds


@pytest.fixture
def plant(prefect_api: str, registry: ModelRegistry, tmp_path: Path) -> Any:
    camera = write_mvtec(tmp_path / "camera")
    nightly = Schedule(cron="0 3 * * *")
    settings = {"data": str(camera), "teacher": "random", "config": TINY}
    made = deployment("parts", nightly, settings)
    made.paused = True  # the test is the clock
    identity = made.apply()
    with get_client(sync_client=True) as client:
        yield Plant(camera, client, UUID(str(identity)), nightly.next(1, START)[0])
        client.delete_deployment(UUID(str(identity)))


def test_a_week(plant: Plant, prefect_api: str) -> None:
    monday(plant)
    tuesday(plant)
    wednesday(plant)
    thursday(plant)
    friday(plant, prefect_api)
    saturday(plant)
    archived = sunday(plant)
    nothing_is_lost(plant, archived)


def monday(plant: Plant) -> None:
    plant.night()
    assert plant.champion == "1"
    plant.day()
    assert not plant.evening().detected


def tuesday(plant: Plant) -> None:
    plant.drop(6)
    assert plant.night().version == "2"
    plant.day()
    assert not plant.evening().detected


def wednesday(plant: Plant) -> None:
    good = plant.drop(6)
    whole = good[0].read_bytes()
    bad = {
        "cut.png": whole[: len(whole) // 2],
        "empty.png": b"",
        "note.png": b"no picture today",
        "again.png": whole,
    }
    for name, content in bad.items():
        (plant.camera / "train/good" / name).write_bytes(content)
    outcome = plant.night()
    version = read_version(outcome.dataset)
    used = {image.name for image in version.images}
    told = {problem.path.name for problem in version.problems}
    assert {"cut.png", "empty.png", "note.png"} <= told
    assert not {f"train/good/{name}" for name in ("cut.png", "empty.png", "note.png")} & used
    assert len({image.image.sha256 for image in version.images}) == len(version.images)
    assert {f"train/good/{file.name}" for file in good[1:]} <= used
    plant.day()
    assert not plant.evening().detected


def thursday(plant: Plant) -> None:
    before = plant.champion
    outcome = plant.night(config=CARELESS)
    assert plant.champion == before
    assert outcome.verdict is not None
    assert outcome.verdict.decision == "reject"
    assert plant.registry.version("parts", outcome.version).aliases == ("challenger",)
    plant.day()
    assert not plant.evening().detected


def friday(plant: Plant, prefect_api: str) -> None:
    before = plant.champion
    plant.drop(6)
    run = plant.scheduled(config=LONG)
    kill_while_training(run.id, prefect_api)
    assert plant.champion == before  # and it goes on serving
    plant.day()

    revive_lost()
    state = plant.client.read_flow_run(run.id).state
    assert state is not None
    assert state.name == "AwaitingRetry"
    outcome = plant.run(run.id)
    plant.judge(outcome, before, {})
    assert plant.client.read_flow_run(run.id).run_count == 2
    assert not list(checkpoints_dir().glob("*/*.safetensors"))
    assert [version.run_id for version in plant.registry.versions("parts")].count(
        outcome.run_id
    ) == 1
    plant.evening()


def kill_while_training(run_id: UUID, prefect_api: str) -> None:
    code = (
        "from prefect.client.orchestration import get_client\n"
        "from prefect.flow_engine import run_flow\n"
        "from flows.retrain import retrain\n"
        "with get_client(sync_client=True) as client:\n"
        f"    run = client.read_flow_run('{run_id}')\n"
        "run_flow(retrain, flow_run=run, parameters=run.parameters)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PREFECT_API_URL": prefect_api},
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(checkpoints_dir().glob("*/*.safetensors")):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


def saturday(plant: Plant) -> None:
    assert plant.night().unchanged or plant.champion is not None
    before = plant.champion
    others = [v.version for v in plant.registry.versions("parts") if v.version != before][:2]
    start, refused = threading.Barrier(2), list[str]()

    def promote(version: str) -> None:
        start.wait()
        try:
            ModelRegistry().promote("parts", version, expected=before, actor=f"{version}'s friend")
        except RegistryError:
            refused.append(version)

    threads = [threading.Thread(target=promote, args=(version,)) for version in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert plant.champion in set(others) - set(refused)
    plant.moves.append(str(plant.champion))
    plant.registry.rollback("parts", reason="nobody had looked at it")
    assert plant.champion == before
    plant.moves.append(str(before))

    plant.day(under_new_light, after=NOON)
    found = plant.evening()
    assert found.detected
    assert "drift or defects" in found.advice
    first = int(found.advice.split("from image ")[1].split()[0])
    assert first > NOON


def sunday(plant: Plant) -> list[bytes]:
    """A person puts the old images away and good ones of the new light in."""
    old = sorted((plant.camera / "train/good").iterdir())
    archived = [file.read_bytes() for file in old if file.stem.isdigit()]
    for file in old:
        file.unlink()
    plant.drop(50, under_new_light)
    before = plant.champion
    outcome = plant.night(promote="never")  # as drift begins it
    assert plant.champion == before
    plant.registry.promote("parts", outcome.version, reason="new lamp; looked at the worst images")
    plant.moves.append(outcome.version)
    plant.day(under_new_light, after=0)
    assert not plant.evening().detected
    return archived


def nothing_is_lost(plant: Plant, archived: list[bytes]) -> None:
    """Images, versions, runs, moves and scores."""
    datasets = {row["version"] for row in history("parts")}
    stored = set()
    for version in (read_version(f"parts@{each}") for each in datasets):
        assert verify(version, progress=False) == []
        stored |= {image.image.sha256 for image in version.images}
    assert {hashlib.sha256(content).hexdigest() for content in archived} <= stored

    for registered in plant.registry.versions("parts"):
        assert read_bundle(open_bundle(registered.address)).manifest.calibration
    assert [move.to_version for move in plant.registry.history("parts")] == plant.moves

    long_ago = START - timedelta(days=1)
    for version, count in plant.served.items():
        assert len(ScoreLog().read("parts", version, long_ago)) == count
    assert {status for _, status in mlflow_runs(plant.registry)} == {"FINISHED"}
    assert len(mlflow_runs(plant.registry)) == len(plant.registry.versions("parts"))


def mlflow_runs(registry: ModelRegistry) -> list[tuple[str, str]]:
    from mlflow import MlflowClient

    client = MlflowClient(registry.uri)
    experiment = client.get_experiment_by_name("parts")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    return [(run.info.run_name, run.info.status) for run in found]
