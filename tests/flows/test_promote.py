import contextvars
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from flows.promote import promote_flow
from tests.images import defective, part
from uad.cli import main
from uad.cli.registry import NOT_BETTER
from uad.data import ingest
from uad.errors import ConfigError, RegistryError
from uad.operations.inputs import EvaluationImages
from uad.operations.judging import Candidate, Evidence, judge, promote_if
from uad.registry import ModelAddress, ModelRegistry, local_folder
from uad.registry.gate import GateVerdict
from uad.storage.paths import store_dir


@pytest.fixture
def dataset(parts: Path, registry: ModelRegistry) -> str:
    """The stored images; its address."""
    return ingest(parts, "parts", progress=False).address


@pytest.fixture
def worse_second(
    registry: ModelRegistry, trained_bundle: Path, random_bundle: Callable[[int], Path]
) -> ModelRegistry:
    """Version 1 is trained and the champion; version 2 is random."""
    registry.register(trained_bundle, "parts")
    registry.promote("parts", "1")
    registry.register(random_bundle(1), "parts")
    return registry


def test_a_version_that_is_worse_on_the_same_images_does_not_replace_the_champion(
    prefect_api: str, dataset: str, worse_second: ModelRegistry, tmp_path: Path
) -> None:
    registry = worse_second
    assert not promote_flow("parts", "2", dataset, str(tmp_path))

    worse = registry.version("parts", "2")
    assert worse.aliases == ("challenger",)
    assert worse.tags["gate.decision"] == "reject"
    assert worse.tags["gate.champion"] == "1"
    assert worse.tags["gate.dataset"] == dataset
    assert float(worse.tags["gate.image_auroc.challenger"]) < float(
        worse.tags["gate.image_auroc.champion"]
    )
    assert registry.champion("parts") == registry.version("parts", "1")


def test_a_better_version_replaces_the_champion_and_the_table_is_an_artifact(
    prefect_api: str,
    dataset: str,
    registry: ModelRegistry,
    trained_bundle: Path,
    random_bundle: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    from prefect.artifacts import Artifact

    registry.register(random_bundle(1), "parts")
    registry.promote("parts", "1")
    registry.register(trained_bundle, "parts")

    assert promote_flow("parts", "2", dataset, str(tmp_path))

    champion = registry.champion("parts")
    assert champion is not None
    assert champion.version == "2"
    assert registry.history("parts")[-1].reason.startswith("No metric is worse")
    table = Artifact.get("gate-parts")
    assert table is not None
    assert "| image AUROC |" in str(table.data)


def test_the_command_promotes_only_what_is_better_and_says_so(
    prefect_api: str,
    dataset: str,
    worse_second: ModelRegistry,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = worse_second
    command = ["promote", "parts", "2", "--if-better", "--data", dataset]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == NOT_BETTER
    assert "version 2 is now challenger" in capsys.readouterr().out

    registry.promote("parts", "2")
    with pytest.raises(SystemExit) as ended:
        main(["promote", "parts", "1", "--if-better", "--data", dataset])
    assert ended.value.code == 0
    assert "version 1 is now champion" in capsys.readouterr().out
    champion = registry.champion("parts")
    assert champion is not None
    assert champion.version == "1"


def test_the_user_may_promote_what_the_gate_rejects_and_the_audit_says_so(
    prefect_api: str, dataset: str, worse_second: ModelRegistry, tmp_path: Path
) -> None:
    registry = worse_second
    assert promote_flow("parts", "2", dataset, str(tmp_path), mode="always")

    assert "promote=always was asked for" in registry.history("parts")[-1].reason
    assert registry.version("parts", "2").tags["gate.decision"] == "reject"


def test_a_verdict_against_one_champion_is_not_applied_to_another(
    dataset: str, registry: ModelRegistry, random_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    for seed in (1, 2, 3):
        registry.register(random_bundle(seed), "parts")
    registry.promote("parts", "2")
    stale = GateVerdict(decision="promote", reason="better than 1", champion="1")
    address = ModelAddress.parse("models:/parts/3")
    assert address.version is not None
    images = EvaluationImages.load(dataset)
    candidate = Candidate(address.name, address.version, images, folder=tmp_path)
    with pytest.raises(RegistryError, match="is version 2 now"):
        promote_if(candidate, stale)
    champion = registry.champion("parts")
    assert champion is not None
    assert champion.version == "2"


def test_a_version_whose_files_were_altered_in_the_registry_is_rejected_by_name(
    dataset: str, registry: ModelRegistry, trained_bundle: Path, tmp_path: Path
) -> None:
    version = registry.register(trained_bundle, "parts")
    images = EvaluationImages.load(dataset)
    address = ModelAddress.parse(version.address)
    assert address.version is not None
    candidate = Candidate(address.name, address.version, images, folder=tmp_path)
    assert judge(candidate, None, Evidence()).decision == "promote"

    source = local_folder(version.source)
    assert source is not None
    for copy in (source, store_dir()):
        for file in copy.rglob("model.onnx"):
            file.write_bytes(file.read_bytes()[:-1] + b"x")
    verdict = judge(candidate, None, Evidence())

    assert verdict.decision == "reject"
    assert "model.onnx" in verdict.reason
    assert not promote_if(candidate, verdict)
    assert registry.champion("parts") is None
    assert registry.version("parts", "1").tags["gate.decision"] == "reject"


def test_a_version_with_more_false_alarms_on_recent_images_is_rejected(
    prefect_api: str,
    dataset: str,
    registry: ModelRegistry,
    trained_bundle: Path,
    parts: Path,
    tmp_path: Path,
) -> None:
    registry.register(trained_bundle, "parts")
    recent = tmp_path / "recent"
    recent.mkdir()
    known = sorted((parts / "train/good").iterdir())[0]
    (recent / "known.png").write_bytes(known.read_bytes())

    judged = {"mode": "never", "recent": str(recent)}
    promote_flow("parts", "1", dataset, str(tmp_path / "1"), **judged)
    tags = registry.version("parts", "1").tags
    assert tags["gate.decision"] == "promote"
    assert "gate.recent_false_alarm_rate.challenger" not in tags  # it learned from the only image

    registry.register(trained_bundle, "parts")
    for index in range(20):  # good, says the folder; all of them raise the alarm
        cv2.imwrite(str(recent / f"{index}.png"), defective(5000 + index)[0])
    promote_flow("parts", "2", dataset, str(tmp_path / "2"), **judged)
    tags = registry.version("parts", "2").tags
    assert float(tags["gate.recent_false_alarm_rate.challenger"]) > 0.5
    assert tags["gate.decision"] == "reject"
    assert "recent" in tags["gate.reason"]


def test_recent_images_like_those_of_training_let_a_version_pass(
    prefect_api: str, dataset: str, registry: ModelRegistry, trained_bundle: Path, tmp_path: Path
) -> None:
    recent = tmp_path / "recent"
    recent.mkdir()
    for index in range(20):
        cv2.imwrite(str(recent / f"{index}.png"), part(6000 + index))
    for _ in range(2):
        registry.register(trained_bundle, "parts")
    registry.promote("parts", "1")
    assert promote_flow("parts", "2", dataset, str(tmp_path / "2"), recent=str(recent))
    tags = registry.version("parts", "2").tags
    assert (
        tags["gate.recent_false_alarm_rate.challenger"]
        == tags["gate.recent_false_alarm_rate.champion"]
    )


class Person:
    """Looks for the paused run in Prefect and resumes it with an answer."""

    def __init__(self, **answer: Any) -> None:
        self.answer, self.table = answer, ""
        here = contextvars.copy_context()  # in which Prefect's settings name the server
        self.thread = threading.Thread(target=here.run, args=(self.act,))

    def __enter__(self) -> "Person":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.thread.join()

    def act(self) -> None:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowRunFilter

        paused = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PAUSED"]}}})
        deadline = time.monotonic() + 250
        with get_client(sync_client=True) as client:
            while time.monotonic() < deadline:
                if runs := client.read_flow_runs(flow_run_filter=paused):
                    answered = client.resume_flow_run(runs[0].id, run_input=self.answer)
                    if answered.status == "ACCEPT":
                        return  # before Prefect has stored the form, it rejects every answer
                time.sleep(0.2)


@pytest.mark.parametrize("promoted", [True, False])
def test_a_person_decides_on_the_page_of_the_paused_run(
    prefect_api: str,
    dataset: str,
    registry: ModelRegistry,
    trained_bundle: Path,
    tmp_path: Path,
    promoted: bool,
) -> None:
    registry.register(trained_bundle, "parts")
    with Person(promote=promoted, who="mia", why="looked at the worst images"):
        made = promote_flow("parts", "1", dataset, str(tmp_path), mode="ask")
    assert made is promoted
    champion = registry.champion("parts")
    if promoted:
        assert champion is not None
        [move] = registry.history("parts")
        assert move.actor == "mia"
        assert move.reason.startswith("looked at the worst images; gate: ")
    else:
        assert champion is None
        assert registry.version("parts", "1").aliases == ("challenger",)


def test_without_an_answer_the_version_stays_challenger(
    prefect_api: str, dataset: str, registry: ModelRegistry, trained_bundle: Path, tmp_path: Path
) -> None:
    registry.register(trained_bundle, "parts")
    folder = str(tmp_path)
    state = promote_flow("parts", "1", dataset, folder, "ask", wait_hours=0.0, return_state=True)
    assert state.name == "Completed"
    assert registry.version("parts", "1").aliases == ("challenger",)


def test_asking_without_a_server_is_refused_before_anything_runs(registry: ModelRegistry) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.approval import require_server

    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(ConfigError, match="needs a Prefect server"),
    ):
        require_server()
