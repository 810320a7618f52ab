"""Remember what was read: a file that has not changed is neither hashed nor decoded again."""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypeVar

from uad.storage.paths import cache_dir

log = logging.getLogger(__name__)
T = TypeVar("T")
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS files (path TEXT, role TEXT, bytes INTEGER, mtime_ns INTEGER, "
    "inode INTEGER, sha256 TEXT, height INTEGER, width INTEGER, format TEXT, remark TEXT, "
    "brightness REAL, thumbnail BLOB, PRIMARY KEY (path, role)) WITHOUT ROWID"
)
INDEX_FILE = "files-v4.sqlite"
THUMBNAIL_PX = 16
Pixels = bytes
_SETTLED_NS = 2_000_000_000
"""A file written this recently may change again within its file system's clock tick."""


@dataclass(frozen=True)
class Stamp:
    """What tells an unchanged file apart without reading it."""

    bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class Facts:
    """What reading a file told."""

    sha256: str
    size: tuple[int, int]
    """(H, W), upright."""
    bytes: int
    format: str
    """See `images.Header`."""
    remark: str = ""
    """See `reading.image_facts` and `reading.mask_facts`."""
    brightness: float = 0.0
    """Mean grey level of an image, 0 to 255."""
    thumbnail: Pixels = b""
    """An image's THUMBNAIL_PX x THUMBNAIL_PX grey levels, row by row; empty for a mask."""


def stamp_of(path: Path) -> Stamp:
    """The file's stamp now."""
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino)


class Index:
    """Facts by path, role (`image` or `mask`) and stamp, in a file that may be deleted any time."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or cache_dir() / INDEX_FILE
        self._repaired(self._create)

    def known(self, stamps: Mapping[Path, Stamp], role: str) -> dict[Path, Facts]:
        """Facts of those files whose stamp is the one remembered."""
        return self._repaired(lambda: self._known(stamps, role))

    def remember(self, read: Iterable[tuple[Path, Stamp, Facts]], role: str) -> None:
        """Store facts, except of files too fresh to be told apart from a later change."""
        settled = time.time_ns() - _SETTLED_NS
        rows = [
            (
                str(path),
                role,
                *astuple(stamp),
                facts.sha256,
                *facts.size,
                facts.format,
                facts.remark,
                facts.brightness,
                facts.thumbnail,
            )
            for path, stamp, facts in read
            if stamp.mtime_ns < settled
        ]
        self._repaired(lambda: self._insert(rows))

    def _repaired(self, work: Callable[[], T]) -> T:
        """The result of `work`; a damaged file is replaced first: all in it can be read again."""
        try:
            return work()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            log.warning("%s was damaged. It is made again: files are read once more.", self._file)
            for file in (self._file, *self._file.parent.glob(f"{self._file.name}-*")):
                file.unlink(missing_ok=True)
            self._create()
            return work()

    def _known(self, stamps: Mapping[Path, Stamp], role: str) -> dict[Path, Facts]:
        found = {}
        with self._connected() as connection:
            for path, stamp in stamps.items():
                row = connection.execute(
                    "SELECT bytes, mtime_ns, inode, sha256, height, width, format, remark, "
                    "brightness, thumbnail FROM files WHERE path = ? AND role = ?",
                    (str(path), role),
                ).fetchone()
                if row and row[:3] == (stamp.bytes, stamp.mtime_ns, stamp.inode):
                    found[path] = Facts(row[3], (row[4], row[5]), row[0], *row[6:])
        return found

    def _insert(self, rows: Sequence[tuple[object, ...]]) -> None:
        with self._connected() as connection:
            marks = ", ".join("?" * 12)
            connection.executemany(f"INSERT OR REPLACE INTO files VALUES ({marks})", rows)

    def _create(self) -> None:
        with self._connected() as connection:
            connection.execute(_SCHEMA)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed; nothing here is worth waiting for the disk."""
        with closing(sqlite3.connect(self._file, timeout=60)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            yield connection
