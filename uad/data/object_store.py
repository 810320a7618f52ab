"""The files of all dataset versions, each stored once, named by its content.

Every stored file carries the same modification time, its seal. A file without the seal was touched
since, and is hashed again before it is used.
"""

import contextlib
import hashlib
import os
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from uad.data.file_index import Facts
from uad.storage.atomic_writes import write_file
from uad.storage.paths import datasets_dir

_SEAL = 315532800
"""1980-01-01 in seconds."""


class StoredFile(BaseModel):
    """A file of the store, and what reading it told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int
    format: str
    height: int
    width: int

    @classmethod
    def of(cls, facts: Facts) -> "StoredFile":
        """The stored form of a file that was read."""
        height, width = facts.size
        return cls(
            sha256=facts.sha256, bytes=facts.bytes, format=facts.format, height=height, width=width
        )

    @property
    def path(self) -> Path:
        """Where the store keeps it; its suffix follows from its content."""
        return datasets_dir() / "objects" / self.sha256[:2] / f"{self.sha256}.{self.format}"


def keep(source: Path, facts: Facts) -> bool:
    """Copy a file into the store unless it is there; False if it changed since it was read."""
    stored = StoredFile.of(facts)
    if is_sound(stored):
        os.utime(stored.path, (_SEAL, _SEAL))  # changed just now, so that nothing sweeps it
        return True
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        return False
    if hashlib.sha256(data).hexdigest() != facts.sha256:
        return False
    # Not durable: what a power cut takes is noticed when it is next used, and stored again.
    write_file(stored.path, data)
    stored.path.chmod(0o444)
    os.utime(stored.path, (_SEAL, _SEAL))
    return True


def is_sound(file: StoredFile) -> bool:
    """Whether the stored file is there, of the right size, and sealed; without seal, if it hashes.

    A store that was copied without its times gets its seals back this way.
    """
    try:
        status = file.path.stat()
    except OSError:
        return False
    if status.st_size != file.bytes:
        return False
    if status.st_mtime == _SEAL:
        return True
    whole = is_whole(file)
    if whole:
        with contextlib.suppress(OSError):  # a store that only others may write
            os.utime(file.path, (_SEAL, _SEAL))
    return whole


def is_whole(file: StoredFile) -> bool:
    """Whether the stored bytes are those that were hashed, whatever the seal says."""
    try:
        return hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    except OSError:
        return False


def break_seal(file: StoredFile) -> None:
    """Break the file's seal: it is checked before use, and the next ingest stores it again."""
    if file.path.is_file():
        os.utime(file.path)


def sweepable(referenced: set[str], before: datetime) -> list[Path]:
    """Stored files that no version refers to and that nothing stored or used since `before`.

    Args:
        referenced: sha256 of the files of all versions that stay.
        before: an ingest under way may have stored files for a version it has not written yet.
    """
    files = (datasets_dir() / "objects").glob("*/*")
    return [
        file for file in sorted(files) if file.stem not in referenced and _is_idle(file, before)
    ]


def sweep(file: Path, before: datetime) -> None:
    """Remove a file of `sweepable`, unless something stored or used it meanwhile."""
    if _is_idle(file, before):
        file.unlink(missing_ok=True)


def _is_idle(file: Path, before: datetime) -> bool:
    """By the time of its last change, which also renewing the seal sets."""
    return file.exists() and file.stat().st_ctime < before.timestamp()
