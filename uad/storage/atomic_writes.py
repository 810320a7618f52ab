"""Write a file or a folder in one step: a reader sees the old content or the new, never a half.

The new content is written beside its place under a short name that begins with `.new-`, and then
renamed. What a killed process leaves there, `uad gc` removes. Files and folders get the rights that
the umask asks for, unlike those of `tempfile`, which only their owner can read.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".new-"
"""How the name of what is being written begins."""


def write_file(file: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Replace the content of `file`; its folder is made where it is missing.

    Args:
        file: where to.
        content: text is written as UTF-8.
        durable: return only when a power cut cannot take it any more. That costs seconds on a busy
            disk.
    """
    with replacing(file, durable=durable) as new:
        new.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(file: Path, *, durable: bool = False) -> Iterator[Path]:
    """A path to write to with any library; it becomes `file` when the block ends without an error.

    The path has the suffix of `file`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(file, file.suffix)
    try:
        yield new
        if durable:
            _to_disk(new)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@contextmanager
def assembling(folder: Path) -> Iterator[Path]:
    """A new empty folder; it takes the place of `folder` when the block ends without an error."""
    new = new_folder(folder.parent)
    try:
        yield new
        put_in_place(new, folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def new_folder(parent: Path) -> Path:
    """An empty folder in `parent` for what is not finished yet."""
    folder = _beside(parent / "any")
    folder.mkdir(parents=True)
    return folder


def put_in_place(new: Path, folder: Path) -> None:
    """Make the folder `new` the folder `folder`, in place of what is there.

    All in it then has the rights that the umask asks for, whatever wrote or copied it.
    """
    _give_rights(new, folder.parent)
    if not folder.exists():
        new.rename(folder)
        return
    old = _beside(folder)
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, suffix: str = "") -> Path:
    """Short, so that a name as long as the file system allows can be written too."""
    return path.with_name(f"{UNFINISHED}{secrets.token_hex(4)}{suffix}")


def _give_rights(folder: Path, parent: Path) -> None:
    """To `folder` and all in it, those of a folder that is made in `parent` now."""
    sample = new_folder(parent)
    mode = stat.S_IMODE(sample.stat().st_mode)
    sample.rmdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(mode if path.is_dir() else mode & 0o666)


def _to_disk(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
