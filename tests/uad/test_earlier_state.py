"""State that an earlier uad wrote goes on being used, where it lies."""

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.watch import look
from uad.data.versions import read_version
from uad.hot_reload import BundleStore, open_bundle
from uad.hot_reload.pins import local_versions, pinned, pinned_version
from uad.inference.detector import load_detector
from uad.monitoring.score_log import ScoreLog
from uad.operations.drift import DriftReport, announced_first
from uad.operations.training import bundle_folder, is_complete
from uad.registry import ModelRegistry
from uad.storage.names import DatasetAddress
from uad.storage.paths import locks_dir, reports_dir

SAMPLES = Path(__file__).parents[1] / "samples"
LAY_AT = "/tmp/uad-sample-state"
PRODUCT = "螺丝 M8"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def earlier(uad_home: Path) -> Path:
    """The sample as UAD_HOME, with MLflow's addresses where it lies now."""
    shutil.unpack_archive(SAMPLES / "state-of-0.1.0.tar.xz", uad_home, filter="data")
    database = sqlite3.connect(uad_home / "mlflow" / "mlflow.db")
    columns = [
        ("experiments", "artifact_location"), ("runs", "artifact_uri"),
        ("model_versions", "source"), ("model_versions", "storage_location"),
    ]  # fmt: skip
    with database:
        for table, column in columns:
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (LAY_AT, str(uad_home))
            )
    database.close()
    return uad_home


def test_its_models_are_found_promoted_fetched_and_run(earlier: Path) -> None:
    registry = ModelRegistry()
    champion = registry.resolve(f"models:/{PRODUCT}@champion")
    assert [move.to_version for move in registry.history(PRODUCT)] == ["1", "2"]

    store = BundleStore()
    kept = store.recall(PRODUCT, "champion")
    path = open_bundle(champion.address)
    assert kept is not None and kept.path == path and kept.name == PRODUCT
    assert path.is_relative_to(earlier / "store" / "%E8%9E%BA%E4%B8%9D M8")  # fetched once only
    detector = load_detector(registry.fetch(champion, earlier / "again"))
    detector.check_golden()
    detector.close()

    assert registry.rollback(PRODUCT, reason="test").to_version == "1"


def test_its_pin_still_holds(earlier: Path) -> None:
    assert pinned(PRODUCT) == "1"
    assert local_versions(PRODUCT) == ["1", "2"]
    found = pinned_version(PRODUCT, BundleStore())
    assert found is not None and found.version == "1"
    assert {copy.name for copy in BundleStore().copies()} == {PRODUCT}


def test_its_scores_announcements_and_locks_are_known(earlier: Path, tmp_path: Path) -> None:
    assert len(ScoreLog().read(PRODUCT, "2", NOON - timedelta(hours=1))) == 2
    seen = DriftReport(
        product=PRODUCT, version="2", since=NOON - timedelta(hours=25), until=NOON, images=2,
        detected=True, evidence=2000.0, level=0.001, alarms=1, expected_alarms=(0, 1),
        median_p_value=0.1, advice="",
    )  # fmt: skip
    assert not announced_first(seen)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "new.png").touch()
    look(PRODUCT, tmp_path / "photos", timedelta(0), datetime.now(UTC) + timedelta(hours=1))
    assert sorted(file.name for file in (earlier / "watch").iterdir()) == [
        "drift-e89ebae4b89d204d38.json", "drift-e89ebae4b89d204d38.lock", "e89ebae4b89d204d38.json",
    ]  # fmt: skip
    assert (locks_dir() / "retrain-e89ebae4b89d204d38.lock").exists()


def test_its_dataset_bundle_and_report_are_where_they_were(earlier: Path) -> None:
    dataset = DatasetAddress(read_version("parts").address)
    bundle = bundle_folder(PRODUCT, dataset, "0123456789abcdef")
    assert is_complete(bundle) and bundle.is_relative_to(earlier / "bundles" / PRODUCT)
    assert (reports_dir() / PRODUCT / "run" / "report.html").read_text() == "a report"
