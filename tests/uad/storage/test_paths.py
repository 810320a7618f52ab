import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from uad.errors import ConfigError, DiskError
from uad.registry import ModelRegistry
from uad.storage.paths import check_writable, damage_of, database_error, disk_error, home


def test_an_empty_uad_home_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UAD_HOME", "")
    assert home() == tmp_path / ".uad"


def test_a_state_folder_that_databases_cannot_be_opened_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UAD_HOME", str(tmp_path / "what?"))
    with pytest.raises(ConfigError, match="another folder"):
        home()


def test_a_registry_lies_in_its_folder_whatever_letters_its_name_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_bundle: Callable[[int], Path]
) -> None:
    folder = tmp_path / "lot [a] #7 50% ü"
    monkeypatch.setenv("UAD_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    registry = ModelRegistry()
    version = registry.register(random_bundle(1), "bolt")
    assert registry.fetch(version, tmp_path / "out").is_dir()
    assert (folder / "mlflow" / "mlflow.db").is_file()
    assert list((folder / "mlflow" / "artifacts").rglob("bundle.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name, "out"]


def test_a_file_in_the_place_of_the_state_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UAD_HOME", str(tmp_path / "file"))
    with pytest.raises(DiskError, match=r"file is a file where a folder is needed"):
        home()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_refused_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match="may not read or write"):
        check_writable(tmp_path)


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "run `uad gc`"),
        (errno.EROFS, "choose another folder"),
        (errno.EACCES, "change its rights"),
        (errno.EFBIG, "see `ulimit -f`"),
    ],
)
def test_each_refusal_of_the_system_has_a_cure(number: int, cure: str) -> None:
    told = str(disk_error(OSError(number, os.strerror(number), "/srv/uad/x")))
    assert "/srv/uad/x" in told
    assert cure in told


@pytest.mark.parametrize(
    ("message", "cure"),
    [
        ("database or disk is full", "run `uad gc`"),
        ("attempt to write a readonly database", "check its access rights"),
    ],
)
def test_a_database_that_cannot_be_written_has_a_cure(message: str, cure: str) -> None:
    assert cure in str(database_error(message))
    assert database_error("no such table: images") is None


def test_a_damaged_database_is_told_from_a_whole_one_and_none(tmp_path: Path) -> None:
    file = tmp_path / "a b.db"
    assert damage_of(file) is None
    with closing(sqlite3.connect(file)) as made, made:
        made.execute("CREATE TABLE runs (name TEXT)")
        made.executemany("INSERT INTO runs VALUES (?)", [("x" * 3000,)] * 20)
    assert damage_of(file) is None
    content = file.read_bytes()
    file.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    assert damage_of(file)
    file.write_bytes(b"junk" * 1000)
    assert damage_of(file) == "file is not a database"
