import re
from pathlib import Path
from typing import Any

import pytest

from flows.retrain import retrain
from tests.uad.monitoring.judged import keep, word
from uad.bundle import read_bundle
from uad.cli import main
from uad.data import load_dataset
from uad.errors import BusyError, DataError, NotInstalledError, TrainingError
from uad.monitoring.judged_images import JudgedImages
from uad.operations.training import only_retraining
from uad.registry import ModelRegistry


def runs(registry: ModelRegistry, product: str) -> list[Any]:
    """MLflow's runs of a product, newest first."""
    from mlflow import MlflowClient

    client = MlflowClient(registry.uri, registry.uri)
    experiment = client.get_experiment_by_name(product)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def test_one_run_goes_from_a_folder_to_a_promoted_version(
    full_chain: dict[str, Any], parts: Path, registry: ModelRegistry
) -> None:
    outcome = retrain(str(parts), **full_chain)
    champion = registry.champion("parts")

    assert outcome.promoted
    assert champion is not None
    assert champion.version == outcome.version == "1"
    assert champion.tags["gate.decision"] == "promote"
    assert champion.metrics["image_auroc"] > 0.5
    assert Path(str(outcome.report)).with_name("report.html").is_file()

    [run] = runs(registry, "parts")
    assert run.info.status == "FINISHED"
    assert run.info.run_id == outcome.run_id == champion.run_id
    assert run.info.run_name.startswith("parts 20")
    assert run.data.params["training.epochs"] == "12"
    assert run.data.params["teacher"] == "random"
    assert run.data.metrics["image_auroc"] == pytest.approx(champion.metrics["image_auroc"])
    assert run.inputs.dataset_inputs[0].dataset.digest == outcome.dataset.partition("@")[2]
    epochs = registry_history(registry, str(outcome.run_id), "selection_loss")
    assert [metric.step for metric in epochs] == list(range(1, 13))
    assert {"evaluation/report.html", "evaluation/report.json"} <= artifacts(
        registry, str(outcome.run_id), "evaluation"
    )
    page = f"dataset/data-{outcome.dataset.partition('@')[2]}.html"
    assert artifacts(registry, str(outcome.run_id), "dataset") == {page}


def test_a_quick_one_makes_a_version_without_a_student_like_any_other(
    chain: dict[str, Any], parts: Path, registry: ModelRegistry
) -> None:
    outcome = retrain(str(parts), **chain)
    champion = registry.champion("parts")
    assert outcome.promoted
    assert champion is not None
    assert champion.metrics["image_auroc"] > 0.5
    made = read_bundle(Path(str(outcome.bundle))).manifest
    assert made.detector is not None
    assert list(made.detector.parts()) == ["memory", "whole_image"]


def test_what_people_said_is_in_the_next_version_and_the_gate_reports_on_it(
    chain: dict[str, Any], parts: Path, registry: ModelRegistry
) -> None:
    store = JudgedImages()
    store.say(keep(store, "alarm", alarm=True, seed=1, product="parts"), word("good"))
    store.say(keep(store, "missed", alarm=False, seed=2, product="parts"), word("defective"))
    outcome = retrain(str(parts), **chain, with_feedback=True)
    dataset = load_dataset(outcome.dataset)
    assert "feedback/alarm.png" in {sample.name for sample in dataset.train}
    assert registry.version("parts", outcome.version).tags["uad.dataset"] == outcome.dataset
    assert outcome.verdict is not None
    reported = {check.name: check for check in outcome.verdict.checks}
    for name in ("missed_defects_found", "false_alarms_left"):
        assert reported[name].challenger in (0.0, 1.0)
        assert reported[name].passed is None
    assert load_dataset("parts").version == dataset.version


def registry_history(registry: ModelRegistry, run_id: str, metric: str) -> list[Any]:
    from mlflow import MlflowClient

    return list(MlflowClient(registry.uri).get_metric_history(run_id, metric))


def artifacts(registry: ModelRegistry, run_id: str, folder: str) -> set[str]:
    from mlflow import MlflowClient

    return {file.path for file in MlflowClient(registry.uri).list_artifacts(run_id, folder)}


def test_with_normal_images_only_a_second_version_waits_for_a_person(
    chain: dict[str, Any], normals: Path, registry: ModelRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    first = retrain(str(normals), **chain)
    with caplog.at_level("INFO", "flows"):
        second = retrain(str(normals), **chain)

    assert "are those of version 1. It is trained again" in caplog.text
    assert first.promoted
    assert not second.promoted
    assert second.verdict is not None
    assert second.verdict.decision == "wait"
    assert registry.champion("parts") == registry.version("parts", "1")
    assert registry.version("parts", "2").aliases == ("challenger",)


def test_a_run_that_finds_nothing_new_trains_nothing(
    chain: dict[str, Any], normals: Path, registry: ModelRegistry
) -> None:
    retrain(str(normals), **chain)
    again = retrain(str(normals), **chain, skip_unchanged=True)
    other = {**chain["config"], "detector": {"student": False, "whole_image": False}}
    changed = retrain(
        str(normals), **{**chain, "config": other}, skip_unchanged=True, promote="never"
    )

    assert again.unchanged
    assert again.version == "1"
    assert not changed.unchanged
    assert changed.version == "2"
    assert len(runs(registry, "parts")) == 2


def test_a_training_that_fails_leaves_a_failed_run_and_no_version(
    full_chain: dict[str, Any], normals: Path, registry: ModelRegistry
) -> None:
    diverging = {
        **full_chain["config"],
        "training": {"epochs": 2, "min_steps": 0, "learning_rate": 1e30},
    }
    with pytest.raises(TrainingError):
        retrain(str(normals), **{**full_chain, "config": diverging})
    [run] = runs(registry, "parts")
    assert run.info.status == "FAILED"
    assert registry.products() == []


def test_bad_data_fails_before_any_run_is_opened(
    chain: dict[str, Any], tmp_path: Path, registry: ModelRegistry
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        retrain(str(tmp_path / "empty"), **chain)
    assert runs(registry, "parts") == []


def test_two_retrainings_of_a_product_never_overlap(chain: dict[str, Any], normals: Path) -> None:
    with (
        only_retraining("parts"),
        pytest.raises(BusyError, match="another retraining of 'parts' is running"),
    ):
        retrain(str(normals), **chain)


def test_the_command_prints_what_happened_and_the_next_command(
    chain: dict[str, Any], parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["retrain", "--data", str(parts), "--name", "parts", "--teacher", "random"]
    command += ["--set", "model.width=8", "--set", "input.height=48", "--set", "input.width=64"]
    command += [
        "--set",
        "training.epochs=1",
        "--set",
        "training.min_steps=0",
        "--promote",
        "never",
        "--alpha",
        "0.1",
    ]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    shown = capsys.readouterr()
    assert stopped.value.code == 0
    assert "uad promote parts 1" in shown.out
    assert "challenger" in shown.out
    shares = re.search(r"(\d+) to learn from, (\d+) to choose, (\d+) for the threshold", shown.out)
    assert shares is not None
    assert sum(map(int, shares.groups())) == len(list((parts / "train" / "good").iterdir()))
    assert "at most 10 % on average, threshold " in shown.out
    assert "promote=never was asked for. The gate alone says promote: " in shown.out
    assert "registered: models:/parts/1" in shown.err


def test_the_command_says_what_is_wrong_in_one_line(
    chain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main(["retrain", "--data", str(tmp_path / "empty"), "--name", "x", "--teacher", "random"])
    shown = capsys.readouterr().err
    assert stopped.value.code == 1
    assert "Traceback" not in shown
    assert [line for line in shown.splitlines() if "empty" in line] == [shown.splitlines()[-1]]
    assert shown.splitlines()[-1].startswith("error: ")


def test_a_store_that_cannot_be_written_is_told_before_anything_is_read(
    chain: dict[str, Any], registry: ModelRegistry, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    store = "wasbs://models@account.blob.core.windows.net/1"
    MlflowClient(registry.uri).create_experiment("parts", artifact_location=store)
    with pytest.raises(NotInstalledError, match="pip install azure-storage-blob"):
        retrain(str(tmp_path / "not looked at"), **chain)
