import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from uad.storage.atomic_writes import UNFINISHED, assembling, put_in_place, replacing, write_file


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o002, 0o077], ids="{:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_file_gets_the_rights_that_the_umask_asks_for(tmp_path: Path, umask: int) -> None:
    write_file(tmp_path / "deep" / "one.json", "{}", durable=True)
    with replacing(tmp_path / "two.npy") as new:
        new.write_bytes(b"2")
    assert rights(tmp_path / "deep") == 0o777 & ~umask
    assert rights(tmp_path / "deep" / "one.json") == 0o666 & ~umask
    assert rights(tmp_path / "two.npy") == 0o666 & ~umask


def test_a_folder_and_all_in_it_get_them_too(tmp_path: Path, umask: int) -> None:
    with assembling(tmp_path / "bundle") as new:
        (new / "golden").mkdir(mode=0o700)
        (new / "golden" / "0.png").touch(mode=0o600)
    assert rights(tmp_path / "bundle") == rights(tmp_path / "bundle/golden") == 0o777 & ~umask
    assert rights(tmp_path / "bundle/golden/0.png") == 0o666 & ~umask


def test_a_folder_that_was_copied_for_its_owner_alone_is_put_in_place_for_all(
    tmp_path: Path, umask: int
) -> None:
    (tmp_path / "fetched").mkdir(mode=0o700)
    put_in_place(tmp_path / "fetched", tmp_path / "final")
    assert rights(tmp_path / "final") == 0o777 & ~umask


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    write_file(file, "old")
    with assembling(folder) as new:
        write_file(new / "part", "old")
    with pytest.raises(KeyError), replacing(file) as new:
        new.write_text("half")
        raise KeyError
    with pytest.raises(KeyError), assembling(folder) as new:
        write_file(new / "part", "half")
        raise KeyError
    assert file.read_text() == (folder / "part").read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [file, folder]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for content in ("old", "new"):
        with assembling(folder) as made:
            write_file(made / content, content)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / f"{'n' * 250}.json"
    write_file(file, "{}")
    assert file.read_text() == "{}"


def test_other_libraries_find_the_suffix_they_need(tmp_path: Path) -> None:
    with replacing(tmp_path / "maps.npy") as new:
        assert new.suffix == ".npy"
        assert new.name.startswith(UNFINISHED)
        new.touch()
