import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from uad.bundle import MANIFEST, add_calibration, read_bundle, sha256
from uad.errors import BundleError
from uad.hot_reload import BundleStore
from uad.registry.types import BUNDLE_SHA256, ModelVersion

Bundles = Callable[[int], Path]


def version(number: str, bundle: Path | None = None) -> ModelVersion:
    tags = {} if bundle is None else {BUNDLE_SHA256: sha256(bundle / MANIFEST)}
    return ModelVersion("cookie", number, None, f"file:///{number}", tags)


def copier(bundle: Path) -> Callable[[ModelVersion, Path], Path]:
    def fetch(version: ModelVersion, into: Path) -> Path:
        return Path(shutil.copytree(bundle, into / "model"))

    return fetch


def refuse(version: ModelVersion, into: Path) -> Path:
    raise AssertionError("fetched although it was there")


def test_a_bundle_is_fetched_once(tmp_path: Path, random_bundle: Bundles) -> None:
    store = BundleStore(tmp_path)
    wanted = version("1", random_bundle(1))
    path = store.ensure(wanted, copier(random_bundle(1)))
    assert read_bundle(path).id == read_bundle(random_bundle(1)).id
    assert store.ensure(wanted, refuse) == path


def test_what_is_fetched_must_be_what_was_registered(
    tmp_path: Path, random_bundle: Bundles
) -> None:
    store = BundleStore(tmp_path)
    with pytest.raises(BundleError, match="not the bundle that was registered"):
        store.ensure(version("1", random_bundle(1)), copier(random_bundle(2)))
    assert store.find("cookie", "1") is None
    assert store.ensure(version("1", random_bundle(1)), copier(random_bundle(1))).is_dir()


def test_a_copy_that_was_calibrated_again_is_used_and_said(
    tmp_path: Path, random_bundle: Bundles, caplog: pytest.LogCaptureFixture
) -> None:
    store, wanted = BundleStore(tmp_path), version("1", random_bundle(1))
    copy = store.ensure(wanted, copier(random_bundle(1)))
    store.ensure(wanted, refuse)
    assert not caplog.records
    bundle = read_bundle(copy)
    (entry,) = bundle.manifest.calibration.values()
    add_calibration(bundle, "openvino/fp32", entry)
    assert store.ensure(wanted, refuse) == copy
    assert "The local copy of models:/cookie/1 was changed after it was fetched" in caplog.text


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """`tmp_path/disk` is a disk of its own; the call makes it read-only. Needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    again = ["mount", "-o", "remount,ro", str(disk)]
    yield lambda: subprocess.run(again, check=True) and None
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_sound_copy_on_a_disk_that_became_read_only_still_serves(
    tmp_path: Path, random_bundle: Bundles, read_only: Callable[[], None]
) -> None:
    store, wanted = BundleStore(tmp_path / "disk/store"), version("1", random_bundle(1))
    copy = store.ensure(wanted, copier(random_bundle(1)))
    read_only()
    lease = store.lease(wanted, refuse)
    assert lease.path == copy
    lease.release()
    lease.release()


def test_a_damaged_record_of_what_served_last_costs_only_itself(
    tmp_path: Path, random_bundle: Bundles
) -> None:
    store = BundleStore(tmp_path)
    copy = store.ensure(version("1", random_bundle(1)), copier(random_bundle(1)))
    (copy.parent / "@champion").write_bytes(b"\xff\xfe")
    assert [each.path for each in store.copies()] == [copy]


def test_an_altered_bundle_never_enters_the_store(tmp_path: Path, random_bundle: Bundles) -> None:
    broken = Path(shutil.copytree(random_bundle(1), tmp_path / "broken"))
    (broken / "weights.safetensors").write_bytes(b"")
    store = BundleStore(tmp_path / "store")
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        store.ensure(version("1"), copier(broken))
    assert store.find("cookie", "1") is None


def test_a_failed_fetch_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(version: ModelVersion, into: Path) -> Path:
        (into / "half").write_text("half")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        BundleStore(tmp_path).ensure(version("1"), fail)
    assert [file.name for file in (tmp_path / "cookie").iterdir()] == [".lock"]


def _hang_in_the_middle(root: str, bundle: str) -> None:
    def fetch(version: ModelVersion, into: Path) -> Path:
        target = into / "model"
        target.mkdir()
        shutil.copy(Path(bundle) / MANIFEST, target)
        time.sleep(60)
        return target

    BundleStore(Path(root)).ensure(version("1"), fetch)


def test_a_kill_in_the_middle_of_a_fetch_costs_only_another_fetch(
    tmp_path: Path, random_bundle: Bundles
) -> None:
    worker = multiprocessing.get_context("fork").Process(
        target=_hang_in_the_middle, args=(str(tmp_path), str(random_bundle(1)))
    )
    worker.start()
    deadline = time.monotonic() + 30
    while not list((tmp_path / "cookie").glob(f".new-*/model/{MANIFEST}")):
        assert time.monotonic() < deadline
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    store = BundleStore(tmp_path)
    assert store.find("cookie", "1") is None
    path = store.ensure(version("1", random_bundle(1)), copier(random_bundle(1)))
    assert read_bundle(path)
    assert list((tmp_path / "cookie").glob(".new-*")) == []


def test_a_folder_without_its_mark_is_fetched_again(tmp_path: Path, random_bundle: Bundles) -> None:
    store = BundleStore(tmp_path)
    path = store.ensure(version("1"), copier(random_bundle(1)))
    (path / ".complete").unlink()
    (path / "model.onnx").unlink()
    assert read_bundle(store.ensure(version("1"), copier(random_bundle(1))))


def test_the_three_last_used_bundles_stay(tmp_path: Path, random_bundle: Bundles) -> None:
    store = BundleStore(tmp_path)
    for number in ("1", "2", "3", "1", "4"):
        store.ensure(version(number), copier(random_bundle(1)))
    assert [store.find("cookie", n) is not None for n in "1234"] == [True, False, True, True]


def test_what_last_served_is_found_again_and_never_removed(
    tmp_path: Path, random_bundle: Bundles
) -> None:
    store = BundleStore(tmp_path)
    first = store.ensure(version("1"), copier(random_bundle(1)))
    store.remember("cookie", "champion", first)
    for number in ("2", "3", "4", "5"):
        store.ensure(version(number), copier(random_bundle(1)))
    recalled = BundleStore(tmp_path).recall("cookie", "champion")
    assert recalled is not None
    assert (recalled.path, recalled.name, recalled.version) == (first, "cookie", "1")
    assert store.recall("cookie", "challenger") is None


def test_a_copy_in_use_is_removed_by_nobody(tmp_path: Path, random_bundle: Bundles) -> None:
    lease = BundleStore(tmp_path).lease(version("1"), copier(random_bundle(1)))
    other = BundleStore(tmp_path)
    for number in ("2", "3", "4", "5"):
        other.ensure(version(number), copier(random_bundle(1)))
    assert other.find("cookie", "1") is not None
    lease.release()
    other.ensure(version("6"), copier(random_bundle(1)))
    assert other.find("cookie", "1") is None


def _lease_and_die(root: str, bundle: str) -> None:
    BundleStore(Path(root)).lease(version("1"), copier(Path(bundle)))
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_lease_of_a_process_that_was_killed_ends_with_it(
    tmp_path: Path, random_bundle: Bundles
) -> None:
    worker = multiprocessing.get_context("fork").Process(
        target=_lease_and_die, args=(str(tmp_path), str(random_bundle(1)))
    )
    worker.start()
    worker.join()
    store = BundleStore(tmp_path)
    assert store.find("cookie", "1") is not None
    for number in ("2", "3", "4"):
        store.ensure(version(number), copier(random_bundle(1)))
    assert store.find("cookie", "1") is None
    assert list((tmp_path / "cookie").glob(".in-use-*")) == []


def test_a_sound_copy_needs_no_lock(tmp_path: Path, random_bundle: Bundles) -> None:
    store = BundleStore(tmp_path)
    path = store.ensure(version("1"), copier(random_bundle(1)))
    with FileLock(tmp_path / "cookie" / ".lock"):
        assert BundleStore(tmp_path).ensure(version("1"), refuse) == path


def test_an_old_copy_that_cannot_be_removed_does_not_stop_a_new_one(
    tmp_path: Path, random_bundle: Bundles
) -> None:
    (tmp_path / "cookie" / "@champion" / "x").mkdir(parents=True)  # cannot be read as a file
    assert BundleStore(tmp_path).ensure(version("1"), copier(random_bundle(1))).is_dir()
