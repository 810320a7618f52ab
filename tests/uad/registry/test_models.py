import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from uad.bundle import git_revision, read_bundle
from uad.errors import BundleError, RegistryError, RegistryUnreachableError
from uad.models.parts import EpochMetrics
from uad.registry import ModelRegistry, RunTracker

Bundles = Callable[[int], Path]


def test_a_registered_bundle_comes_back_byte_for_byte(
    registry: ModelRegistry, random_bundle: Bundles, tmp_path: Path
) -> None:
    version = registry.register(random_bundle(1), "cookie")
    fetched = registry.fetch(version, tmp_path / "into")
    names = {file.relative_to(fetched) for file in fetched.rglob("*") if file.is_file()}
    assert names == {
        file.relative_to(random_bundle(1)) for file in random_bundle(1).rglob("*") if file.is_file()
    }
    for name in names:
        assert (fetched / name).read_bytes() == (random_bundle(1) / name).read_bytes()


def test_a_version_says_what_it_is(registry: ModelRegistry, random_bundle: Bundles) -> None:
    version = registry.register(
        random_bundle(1), "cookie", metrics={"image_auroc": 0.9}, tags={"line": "3"}
    )
    assert version.version == "1"
    assert version.metrics == {"image_auroc": 0.9}
    assert version.tags["uad.bundle_id"] == read_bundle(random_bundle(1)).id
    assert version.tags["uad.teacher"] == "random"
    assert version.tags["line"] == "3"
    what, how = version.description.split(". ", 1)
    assert what.endswith("with the teacher random; image AUROC 0.900")
    assert "`uad promote cookie 1`" in how
    assert "only makes a copy" in how
    assert version.address == "models:/cookie/1"


def test_a_version_is_a_model_of_its_run_with_sortable_figures(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    """What MLflow's Models tab and column show; a LoggedModel's name has no dots."""
    figures = {"image_auroc": 0.9, "recall": 0.8, "false_alarm_rate": 0.05, "threshold": 7.0}
    version = registry.register(random_bundle(1), "bolt v1.2", metrics=figures)
    registry.record_figures(version, {"recall": 0.7}, "bolts@1f2e3d4c5b6a")

    client = MlflowClient(registry.uri)
    run = client.get_run(version.run_id)
    [output] = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (model.name, model.source_run_id) == ("bolt v1_2", version.run_id)
    assert str(model.status) == "READY"
    assert '"version": "1"' in model.tags["mlflow.modelVersions"]
    assert {**run.data.metrics, **figures, "recall": 0.7} == run.data.metrics
    newest = {metric.key: metric for metric in sorted(model.metrics, key=lambda m: m.timestamp)}
    assert newest["recall"].value == 0.7
    assert (newest["recall"].dataset_name, newest["recall"].dataset_digest) == (
        "bolts",
        "1f2e3d4c5b6a",
    )
    again = registry.version("bolt v1.2", "1")
    assert again.metrics == {**figures, "recall": 0.7}
    assert again.tags["uad.evaluated_on"] == "bolts@1f2e3d4c5b6a"


def test_a_bundle_that_was_not_evaluated_has_its_threshold_at_least(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    bundle = read_bundle(random_bundle(1))
    version = registry.register(bundle.path, "cookie")
    assert version.metrics["threshold"] == bundle.manifest.calibration["onnxruntime/fp32"].threshold
    assert "not evaluated on test images yet" in version.description


def test_registering_without_a_run_makes_one_with_parameters_and_epochs(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    version = registry.register(random_bundle(1), "cookie")
    client = MlflowClient(registry.uri)
    run = client.get_run(version.run_id)
    assert run.data.params["input.height"] == "32"
    assert run.info.status == "FINISHED"
    assert client.get_metric_history(version.run_id, "train_loss")[0].step == 1


def test_an_altered_bundle_is_not_registered(
    registry: ModelRegistry, random_bundle: Bundles, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(random_bundle(1), broken)
    (broken / "model.onnx").write_bytes(b"altered")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        registry.register(broken, "cookie")
    assert registry.products() == []


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "../x", " x", "x" * 101, "a'b"])
def test_a_name_that_could_not_be_a_folder_is_refused(
    registry: ModelRegistry, random_bundle: Bundles, name: str
) -> None:
    with pytest.raises(RegistryError, match="cannot name a product"):
        registry.register(random_bundle(1), name)


def test_what_does_not_exist_is_answered_with_what_does(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    registry.register(random_bundle(1), "cookie")
    with pytest.raises(RegistryError, match=r"no product 'biscuit'.*it has: cookie"):
        registry.versions("biscuit")
    with pytest.raises(RegistryError, match=r"no version 7 \(it has: 1\)"):
        registry.version("cookie", "7")
    with pytest.raises(RegistryError, match=r"no version latest"):
        registry.version("cookie", "latest")
    with pytest.raises(RegistryError, match=r"is champion.*uad promote cookie VERSION"):
        registry.resolve("models:/cookie@champion")
    advice = r"is challenger.*uad promote cookie VERSION --alias challenger"
    with pytest.raises(RegistryError, match=advice):  # not one that changes what serves
        registry.resolve("models:/cookie@challenger")
    with pytest.raises(RegistryError, match=r"is champon.*mean models:/cookie@champion\?$"):
        registry.resolve("models:/cookie@champon")
    with pytest.raises(RegistryError, match="is not a model address"):
        registry.resolve("models:/cookie")


def test_addresses_name_a_version_by_alias_or_number(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    for seed in (1, 2):
        registry.register(random_bundle(seed), "cookie")
    registry.promote("cookie", "2")
    assert registry.resolve("models:/cookie@champion").version == "2"
    assert registry.resolve("models:/cookie/1").version == "1"
    assert [each.version for each in registry.versions("cookie")] == ["2", "1"]
    assert registry.versions("cookie")[0].aliases == ("champion",)


def test_a_state_folder_with_a_space_in_its_name_works(
    tmp_path: Path, empty_registry: Path, random_bundle: Bundles
) -> None:
    folder = tmp_path / "line 3 100%"
    folder.mkdir()
    shutil.copy(empty_registry, folder / "mlflow.db")
    registry = ModelRegistry(f"sqlite:///{folder / 'mlflow.db'}")
    version = registry.register(random_bundle(1), "cookie")
    assert read_bundle(registry.fetch(version, tmp_path / "into"))
    assert (folder / "artifacts" / "cookie").is_dir()


def test_a_run_keeps_epochs_metrics_figures_and_its_end(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    run = RunTracker().start_run("cookie", name="nightly", params={"training": {"epochs": 2}})
    for epoch in (1, 2):
        RunTracker().log_epoch(run, EpochMetrics(epoch, {"train_loss": 1 / epoch}))
    RunTracker().log_metrics(run, {"image_auroc": 0.98})
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "figure.txt").write_text("drawn")
    RunTracker().log_folder(run, tmp_path / "figures", "report")
    RunTracker().finish_run(run, "FAILED")
    client = MlflowClient(registry.uri)
    found = client.get_run(run)
    assert found.info.run_name == "nightly"
    assert found.info.status == "FAILED"
    assert found.data.params == {"training.epochs": "2"}
    assert [m.value for m in client.get_metric_history(run, "train_loss")] == [1.0, 0.5]
    assert found.data.metrics["image_auroc"] == 0.98
    assert "report/figure.txt" in [each.path for each in client.list_artifacts(run, "report")]


def test_a_run_gets_the_epochs_that_it_lacks_and_no_other_twice(registry: ModelRegistry) -> None:
    run = RunTracker().start_run("cookie", name="killed", params={})
    for epoch in (1, 3):
        RunTracker().log_epoch(run, EpochMetrics(epoch, {"train_loss": 1 / epoch}))
    history = [{"epoch": each, "train_loss": 1 / each} for each in (1, 2, 3, 4)]
    RunTracker().log_history(run, history)
    RunTracker().log_history(run, history)
    logged = MlflowClient(registry.uri).get_metric_history(run, "train_loss")
    assert sorted(metric.step for metric in logged) == [1, 2, 3, 4]
    RunTracker().log_history(run, [])  # of a model that was not trained


def test_a_run_says_what_the_machine_was_doing_and_which_revision_it_ran(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    client, run = MlflowClient(registry.uri), RunTracker().start_run("cookie")
    deadline = time.monotonic() + 60
    with RunTracker().machine(run):
        while "system/system_memory_usage_megabytes" not in client.get_run(run).data.metrics:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    tags = client.get_run(run).data.tags
    assert tags.get("mlflow.source.git.commit") == git_revision()


def test_a_bundle_registered_under_a_run_belongs_to_it(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    run = RunTracker().start_run("cookie")
    assert registry.register(random_bundle(1), "cookie", run_id=run).run_id == run


def test_a_server_that_is_down_is_reported_within_seconds() -> None:
    registry = ModelRegistry("http://127.0.0.1:9")  # the port of `discard`: nothing listens
    begin = time.monotonic()
    with pytest.raises(RegistryUnreachableError, match=r"127\.0\.0\.1:9.*MLFLOW_TRACKING_URI"):
        registry.products()
    assert time.monotonic() - begin < 10


def test_a_folder_is_no_registry() -> None:
    with pytest.raises(RegistryError, match="sqlite:///"):
        ModelRegistry("file:///tmp/mlruns").products()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(RegistryError, match=r"mlflow\.db is damaged.*not a database"):
        ModelRegistry(f"sqlite:///{file}").products()


def _count_products(uri: str, answers: "multiprocessing.Queue[object]") -> None:
    try:
        answers.put(len(ModelRegistry(uri).products()))
    except Exception as exc:  # noqa: BLE001 - told to the test
        answers.put(repr(exc))


@pytest.mark.slow
def test_three_processes_at_once_make_one_new_database(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[object] = spawn.Queue()
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    workers = [spawn.Process(target=_count_products, args=(uri, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=120) for _ in workers] == [0, 0, 0]
    for worker in workers:
        worker.join()


def test_advice_can_be_pasted_also_for_a_name_with_a_space(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    with pytest.raises(RegistryError, match="--name 'bolt M8'"):
        registry.versions("bolt M8")
    registry.register(random_bundle(1), "bolt M8")
    with pytest.raises(RegistryError, match="uad promote 'bolt M8' VERSION"):
        registry.resolve("models:/bolt M8@champion")
    with pytest.raises(RegistryError, match="uad promote 'bolt M8' VERSION"):
        registry.rollback("bolt M8")


def test_a_registry_that_does_not_answer_says_nothing_of_its_store(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    RunTracker(registry.uri).check_storage("cookie")
    assert MlflowClient(registry.uri).get_experiment_by_name("cookie") is None
    RunTracker("http://127.0.0.1:9").check_storage("cookie")
