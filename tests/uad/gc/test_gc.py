"""Housekeeping of a UAD_HOME with a real registry, store and datasets."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.images import write_mvtec
from uad.cli import main
from uad.data import ingest, load_dataset
from uad.data.file_index import INDEX_FILE
from uad.data.versions import history, verify
from uad.errors import ConfigError, DataError, RegistryError
from uad.gc import Plan, Retention, make_plan
from uad.hot_reload import BundleStore
from uad.hot_reload.pins import pin_file
from uad.monitoring.score_log import ScoreLog
from uad.registry import ModelRegistry, Remover, RunTracker
from uad.storage.paths import bundles_dir, cache_dir, checkpoints_dir

LATER = datetime.now(UTC) + timedelta(days=30)
FEW = Retention(keep=1, keep_runs=1)


def planned(registry: ModelRegistry, rule: Retention = FEW) -> Plan:
    return make_plan(registry, rule, now=LATER)


def of(plan: Plan, kind: str) -> list[str]:
    return [item.what for item in plan.items if item.kind == kind]


def stock(registry: ModelRegistry, random_bundle: Callable[[int], Path]) -> ModelRegistry:
    """Versions 1 to 5 of cookie: 1, then 3 was champion before 4 is, 2 is the challenger."""
    for seed in (1, 2, 3, 4, 5):
        registry.register(random_bundle(seed), "cookie")
    for version in ("1", "3", "4"):
        registry.promote("cookie", version)
    registry.promote("cookie", "2", alias="challenger")
    return registry


@pytest.fixture(scope="module")
def stocked(
    tmp_path_factory: pytest.TempPathFactory,
    empty_registry: Path,
    random_bundle: Callable[[int], Path],
) -> Path:
    file = Path(shutil.copy(empty_registry, tmp_path_factory.mktemp("line") / "mlflow.db"))
    stock(ModelRegistry(f"sqlite:///{file}"), random_bundle)
    return file


@pytest.fixture
def line(registry: ModelRegistry, uad_home: Path, stocked: Path) -> ModelRegistry:
    """A copy of `stock`'s registry for plans only: the bundles behind it are shared."""
    shutil.copy(stocked, uad_home / "mlflow" / "mlflow.db")
    return registry


def test_what_goes_is_freed_and_what_serves_or_may_serve_again_stays(
    registry: ModelRegistry, random_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    plan = planned(stock(registry, random_bundle))
    assert of(plan, "model version") == ["cookie 1"]
    assert plan.freed_bytes > 10_000
    plan.carry_out()
    assert planned(registry).items == ()
    database_bytes = 200_000
    assert abs(planned(registry).before_bytes - plan.after_bytes) < database_bytes
    assert [each.version for each in registry.versions("cookie")] == ["5", "4", "3", "2"]
    for version in registry.versions("cookie"):
        assert registry.fetch(version, tmp_path / version.version).is_dir()
    assert registry.rollback("cookie").to_version == "3"


def test_more_steps_back_stay_where_more_are_kept(line: ModelRegistry) -> None:
    assert of(planned(line, Retention(keep=2, keep_runs=99)), "model version") == []


def test_a_champion_set_elsewhere_and_the_one_before_it_stay(line: ModelRegistry) -> None:
    MlflowClient(line.uri).set_registered_model_alias("cookie", "champion", "1")
    assert of(planned(line), "model version") == ["cookie 3"]


def test_what_a_rollback_left_stays_so_that_one_can_go_forward_again(line: ModelRegistry) -> None:
    line.rollback("cookie")  # from 4 to 3
    assert of(planned(line), "model version") == []
    line.promote("cookie", "4")
    assert line.rollback("cookie").to_version == "3"
    line.rollback("cookie")  # to 1, which leaves 3
    assert of(planned(line), "model version") == ["cookie 4"]


def test_a_pinned_version_stays(line: ModelRegistry) -> None:
    pin_file("cookie").parent.mkdir(parents=True)
    pin_file("cookie").write_text("1")
    assert of(planned(line), "model version") == []


def test_nothing_goes_while_a_pin_cannot_be_read(line: ModelRegistry) -> None:
    pin_file("cookie").parent.mkdir(parents=True)
    pin_file("cookie").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"pin of 'cookie' cannot be read .*uad pin cookie --off"):
        planned(line)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_nothing_is_removed_without_yes(
    options: tuple[str, ...], line: ModelRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["gc", *options, "--keep", "1", "--keep-runs", "1"])
    assert not stopped.value.code
    shown = capsys.readouterr()
    assert "would be removed" in shown.out
    assert "Nothing was removed" in shown.err
    assert len(line.versions("cookie")) == 5
    assert line.fetch(line.version("cookie", "1"), Path(line.uri[10:]).parent).is_dir()


def test_runs_under_way_and_the_newest_stay(registry: ModelRegistry) -> None:
    runs = RunTracker()
    under_way, finished, newest = (runs.start_run("cookie") for _ in range(3))
    for run in (finished, newest):
        runs.finish_run(run)
    planned(registry).carry_out()
    assert {run.id for run in Remover().tracked_runs()} == {under_way, newest}


def test_nothing_goes_while_the_registry_does_not_answer(
    uad_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    leftover = cache_dir() / "training-x"
    leftover.mkdir()
    os.utime(leftover, (0, 0))
    with pytest.raises(SystemExit) as stopped:
        main(["gc"])
    assert stopped.value.code == 1
    assert "cannot reach the registry" in capsys.readouterr().err
    assert leftover.is_dir()


@pytest.fixture
def grown(tmp_path: Path) -> list[str]:
    """Addresses of four versions of a dataset, each with an image more and one less."""
    folder = write_mvtec(tmp_path / "parts", train=12, good=2, bad=2)
    addresses = []
    for index in range(4):
        (folder / f"train/good/{index:03}.png").rename(folder / f"train/good/late {index}.png")
        if index:
            (folder / f"train/good/late {index - 1}.png").unlink()
        addresses.append(ingest(folder, "parts").address)
    return addresses


def test_dataset_versions_that_nobody_refers_to_go_with_their_files(
    registry: ModelRegistry, grown: list[str], uad_home: Path
) -> None:
    run = RunTracker().start_run("parts", tags={"uad.dataset": grown[1]})
    RunTracker().finish_run(run)
    plan = planned(registry)
    assert of(plan, "dataset version") == [grown[0], grown[2]]
    assert len(of(plan, "image file")) == 1  # the other removed images are in a kept version
    plan.carry_out()
    assert [f"parts@{row['version']}" for row in history("parts")] == [grown[1], grown[3]]
    for address in (grown[1], grown[3], "parts"):
        assert load_dataset(address).counts["test_normal"] == 2
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(grown[0])


def test_a_dataset_without_its_history_keeps_its_images(
    registry: ModelRegistry, tmp_path: Path, uad_home: Path
) -> None:
    version = ingest(write_mvtec(tmp_path / "parts", train=12, good=2, bad=2), "parts")
    (uad_home / "datasets/parts/history.json").unlink()
    planned(registry).carry_out()
    assert verify(version) == []
    assert load_dataset("parts").version == version.version


@pytest.mark.parametrize("history_is", ["whole", "damaged", "gone"])
def test_nothing_goes_while_a_version_of_a_dataset_cannot_be_read(
    registry: ModelRegistry, tmp_path: Path, uad_home: Path, history_is: str
) -> None:
    version = ingest(write_mvtec(tmp_path / "parts", train=12, good=2, bad=2), "parts")
    folder = uad_home / "datasets/parts"
    (folder / f"versions/{version.version}.json").write_text("torn")
    if history_is == "damaged":
        (folder / "history.json").write_text("torn")
    elif history_is == "gone":
        (folder / "history.json").unlink()
    with pytest.raises(DataError, match="is missing or damaged"):
        planned(registry)
    assert verify(version) == []


def test_what_was_ingested_today_stays(registry: ModelRegistry, grown: list[str]) -> None:
    assert not make_plan(registry, FEW).items


def test_files_that_an_ingest_just_found_stored_are_not_swept(
    registry: ModelRegistry, grown: list[str], tmp_path: Path
) -> None:
    """Its version is not written yet, and the files may be of a version that goes."""
    version = ingest(tmp_path / "parts", "again")
    shutil.rmtree(tmp_path / "uad-home/datasets/again")
    make_plan(registry, FEW, now=datetime.now(UTC)).carry_out()
    assert verify(version) == []


def test_old_bundles_checkpoints_and_leftovers_go_by_age(
    registry: ModelRegistry, uad_home: Path
) -> None:
    old = [
        bundles_dir() / "cookie/1",
        checkpoints_dir() / "cookie-1",
        cache_dir() / "training-1",
        cache_dir() / "files-v1.sqlite",
        cache_dir() / "masks/old.png",
    ]
    new = [bundles_dir() / "cookie/2", cache_dir() / INDEX_FILE, cache_dir() / "masks/new.png"]
    for path in (*old, *new):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x") if path.suffix else path.mkdir()
    os.utime(old[0], (0, 0))
    later = datetime.now(UTC).timestamp() + 365 * 86400
    os.utime(new[-1], (later, later))
    assert not make_plan(registry, Retention(keep=2)).items
    planned(registry).carry_out()
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in new)


def test_fetched_copies_of_removed_versions_go_but_not_what_serves(line: ModelRegistry) -> None:
    store = BundleStore(keep=9)
    for version in ("1", "3", "4"):
        store.ensure(line.version("cookie", version), line.fetch)
    former = store.find("cookie", "3")
    assert former is not None
    store.remember("cookie", "champion", former.path)
    gone = [item for item in planned(line).items if item.kind == "fetched copy"]
    assert [Path(item.what).name.partition("-")[0] for item in gone] == ["1"]
    gone[0].remove()
    assert [copy.version for copy in store.copies()] == ["4"]


def test_a_disk_bound_keeps_fewer_and_says_if_that_is_not_enough(
    line: ModelRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = Retention(keep=3)
    loose = make_plan(line, rule, now=LATER)
    assert of(loose, "model version") == []
    tight = make_plan(line, rule, max_bytes=loose.after_bytes - 1, now=LATER)
    assert of(tight, "model version") == ["cookie 1"]
    with pytest.raises(SystemExit) as stopped:
        main(["gc", "--max-gb", "0.000001"])
    assert stopped.value.code == 3
    assert "that is left is protected" in " ".join(capsys.readouterr().err.split())
    assert line.champion("cookie") is not None


def test_models_and_versions_of_others_stay_and_so_do_their_files(
    registry: ModelRegistry, random_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    stock(registry, random_bundle)
    client = MlflowClient(registry.uri)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "model.bin").write_bytes(b"weights")
    for name in ("theirs", "cookie"):
        if name == "theirs":
            client.create_registered_model(name)
        for _ in range(3):
            client.create_model_version(name, theirs.as_uri())
    their_run = client.create_run(client.create_experiment("theirs"))
    client.set_terminated(their_run.info.run_id)
    client.copy_model_version("models:/cookie/1", "production")  # MLflow's "Promote model"
    before = {name: len(registry.versions(name)) for name in registry.products()}

    plan = planned(registry)
    assert of(plan, "model version") == []  # cookie 1, which would go, is what the copy is made of
    plan.carry_out()

    assert {name: len(registry.versions(name)) for name in ("theirs", "production")} == {
        "theirs": before["theirs"],
        "production": before["production"],
    }
    assert {each.version for each in registry.versions("cookie")} >= {"1", "6", "7", "8"}
    assert (theirs / "model.bin").is_file()
    assert client.get_run(their_run.info.run_id).info.lifecycle_stage == "active"
    assert registry.fetch(registry.version("cookie", "1"), tmp_path / "one").is_dir()


def test_a_version_promoted_since_the_plan_stays_with_all_that_belongs_to_it(
    registry: ModelRegistry, random_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    stock(registry, random_bundle)
    ScoreLog().add("cookie", "1", "onnxruntime/fp32", [(1.0, False)])
    run = registry.version("cookie", "1").run_id
    plan = planned(registry)
    assert of(plan, "model version") == ["cookie 1"]

    registry.promote("cookie", "1")
    done = plan.carry_out()

    assert of(done, "model version") == of(done, "scores") == []
    champion = registry.champion("cookie")
    assert champion is not None and champion.version == "1"
    assert registry.fetch(champion, tmp_path / "one").is_dir()
    assert list(ScoreLog().files("cookie", "1"))
    assert run in {each.id for each in Remover().tracked_runs()}


def test_a_number_used_again_by_a_new_model_is_not_the_old_version(
    registry: ModelRegistry, random_bundle: Callable[[int], Path]
) -> None:
    stock(registry, random_bundle)
    plan = planned(registry)
    client = MlflowClient(registry.uri)
    client.delete_registered_model("cookie")
    for seed in (6, 7, 8):
        registry.register(random_bundle(seed), "cookie")

    plan.carry_out()

    assert [each.version for each in registry.versions("cookie")] == ["3", "2", "1"]


def test_what_uad_did_not_register_cannot_be_removed_by_it(registry: ModelRegistry) -> None:
    client = MlflowClient(registry.uri)
    client.create_registered_model("theirs")
    client.create_model_version("theirs", "file:///nowhere")
    with pytest.raises(RegistryError, match="uad did not register"):
        Remover().delete_version(registry.version("theirs", "1"), files=True)


def test_yes_and_a_dry_run_at_once_are_refused(
    line: ModelRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["gc", "--yes", "--dry-run"])
    assert stopped.value.code == 1
    assert "Give one of the two" in capsys.readouterr().err


def test_a_copy_that_a_server_uses_stays_though_its_version_goes(line: ModelRegistry) -> None:
    store = BundleStore(keep=9)
    lease = store.lease(line.version("cookie", "1"), line.fetch)
    assert of(planned(line), "fetched copy") == []
    lease.release()
    [copy] = [item for item in planned(line).items if item.kind == "fetched copy"]
    lease = store.lease(line.version("cookie", "1"), line.fetch)  # a server began with it just now
    assert copy.remove() is False
    assert lease.path.is_dir()
    lease.release()
    assert copy.remove() is True
    assert not lease.path.exists()
