"""Pictures that servers judged and kept, and what people said about them.

    images/index.sqlite                              one row an image, one row a person's word
    images/<product>/2026-11-24/<id>.png             the file as it was sent
                                <id>.preview.jpg     the same, small
                                <id>.heatmap.png     its heat map in colours, small

A limit on the disk holds for all products together. The oldest images go first; those that a person
said something about go last. Words stay when their image has gone. The ids of the last removed
images stay too, so that who asks for one can be told why it is not there.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from uad.errors import DataError
from uad.storage.names import place_of
from uad.storage.paths import home, judged_images_dir

Said = Literal["good", "defective"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, log_id TEXT, position INTEGER, product TEXT, version TEXT, engine TEXT,
    at REAL, score REAL, threshold REAL, alpha REAL, p_value REAL, is_anomalous INTEGER,
    sha256 TEXT, suffix TEXT, bytes INTEGER, facts TEXT);
CREATE INDEX IF NOT EXISTS images_by_time ON images (product, at);
CREATE INDEX IF NOT EXISTS images_by_answer ON images (log_id);
CREATE TABLE IF NOT EXISTS words (
    number INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT, product TEXT, said TEXT, note TEXT,
    who TEXT, client TEXT, at REAL);
CREATE INDEX IF NOT EXISTS words_by_image ON words (image);
CREATE TABLE IF NOT EXISTS removed (
    number INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT, log_id TEXT);
CREATE INDEX IF NOT EXISTS removed_by_answer ON removed (log_id);
"""
MOST_REMOVED = 100_000
"""Removed images whose ids are remembered."""
_COLUMNS = (
    "id, log_id, position, product, version, engine, at, score, threshold, alpha, p_value, "
    "is_anomalous, sha256, suffix, bytes, facts"
)
INDEX = "index.sqlite"
PREVIEW, HEATMAP = ".preview.jpg", ".heatmap.png"
_SUFFIXES = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II": ".tif",
    b"MM": ".tif",
}


@dataclass(frozen=True)
class Word:
    """What a person said about one image."""

    said: Said
    note: str
    who: str
    """The name that was given; may be empty."""
    client: str
    """The API key's name or the address that it came from."""
    at: datetime
    number: int = 0
    """In the order in which words were said, from 1; clocks may jump. 0: not recorded yet."""

    @property
    def author(self) -> str:
        """Who said it, for people: `anna (key line4)`."""
        return f"{self.who} ({self.client})" if self.who else self.client


@dataclass(frozen=True)
class JudgedImage:
    """One image with the verdict that it got."""

    id: str
    """The answer's `logId`; with `.2` at its end for the third image of an answer."""
    log_id: str
    position: int
    """Of the image in its request, from 0."""
    product: str
    version: str
    engine: str
    at: datetime
    score: float
    threshold: float
    alpha: float
    p_value: float
    is_anomalous: bool
    sha256: str
    """Of the file as it was sent."""
    suffix: str
    bytes: int
    """Of the file, its preview and its heat map."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the answer held, such as `size` and `regions`; `images`: how many it was about."""
    words: tuple[Word, ...] = ()
    """What people said, oldest first."""


@dataclass(frozen=True)
class Pictures:
    """The files of one image that is to be kept."""

    original: bytes
    preview: bytes
    heatmap: bytes

    @property
    def total_bytes(self) -> int:
        """Of all three."""
        return len(self.original) + len(self.preview) + len(self.heatmap)

    @property
    def suffix(self) -> str:
        """Of the original, by its first bytes."""
        found = (name for start, name in _SUFFIXES.items() if self.original.startswith(start))
        return next(found, ".bin")


def image_id(log_id: str, position: int) -> str:
    """The name of one image of an answer."""
    return log_id if position == 0 else f"{log_id}.{position}"


def has_judged_images() -> bool:
    """Whether a server has kept images in this UAD_HOME; nothing is made."""
    return (home() / "images" / INDEX).is_file()


class JudgedImages:
    """The kept images of all products; `root` is under UAD_HOME by default."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = judged_images_dir() if root is None else root
        with self._connected() as connection:
            connection.executescript(_SCHEMA)

    def keep(self, image: JudgedImage, pictures: Pictures, *, limit_bytes: int) -> None:
        """Store one image, then delete old ones until all fit into `limit_bytes`."""
        for suffix, content in (
            (image.suffix, pictures.original),
            (PREVIEW, pictures.preview),
            (HEATMAP, pictures.heatmap),
        ):
            file = self.file(image, suffix)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        row = (
            image.id, image.log_id, image.position, image.product, image.version, image.engine,
            image.at.timestamp(), image.score, image.threshold, image.alpha, image.p_value,
            int(image.is_anomalous), image.sha256, image.suffix, image.bytes,
            json.dumps(image.facts),
        )  # fmt: skip
        marks = ", ".join("?" * len(row))
        with self._connected() as connection:
            connection.execute(f"INSERT OR REPLACE INTO images VALUES ({marks})", row)
        self.prune(limit_bytes)

    def prune(self, limit_bytes: int) -> list[str]:
        """Delete until `limit_bytes` hold all: oldest first, marked ones last; their ids."""
        with self._connected() as connection:
            total = connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM images").fetchone()[0]
            if total <= limit_bytes:
                return []
            gone = []
            by_age = f"SELECT {_COLUMNS} FROM images ORDER BY id IN (SELECT image FROM words), at"
            with closing(connection.execute(by_age)) as rows:  # left open, it locks the file
                while total > limit_bytes and (row := rows.fetchone()):
                    gone.append(_image(row))
                    total -= gone[-1].bytes
        for image in gone:
            self._delete(image)
        return [image.id for image in gone]

    def newest(
        self,
        product: str,
        limit: int,
        *,
        before: datetime | None = None,
        marked: bool = False,
        judged_good: bool = False,
    ) -> list[JudgedImage]:
        """Images of a product, newest first.

        `marked`: only those with a person's word; `judged_good`: only those without alarm.
        """
        until = before.timestamp() if before else 1e18
        only = "AND id IN (SELECT image FROM words)" if marked else ""
        only += " AND NOT is_anomalous" if judged_good else ""
        return self._select(
            f"product = ? AND at < ? {only} ORDER BY at DESC, position LIMIT ?",
            (product, until, limit),
        )

    def marked(self, product: str) -> list[JudgedImage]:
        """All images of a product with a person's word that are still kept, newest first."""
        return self.newest(product, -1, marked=True)

    def of_answer(self, log_id: str) -> list[JudgedImage]:
        """The kept images of one answer, in the request's order."""
        return self._select("log_id = ? ORDER BY position", (log_id,))

    def get(self, identifier: str) -> JudgedImage | None:
        """One image by its id; None if it is not kept (any more)."""
        found = self._select("id = ?", (identifier,))
        return found[0] if found else None

    def removed(self, log_id: str) -> list[str]:
        """Ids of the images of one answer that were kept and then deleted to make room."""
        with self._connected() as connection:
            rows = connection.execute("SELECT image FROM removed WHERE log_id = ?", (log_id,))
            return [identifier for (identifier,) in rows]

    def of_product(self, identifiers: Sequence[str], product: str) -> list[JudgedImage]:
        """Those of `identifiers` that are kept for `product`, newest first."""
        marks = ", ".join("?" * len(identifiers))
        return self._select(
            f"product = ? AND id IN ({marks}) ORDER BY at DESC", (product, *identifiers)
        )

    def say(self, image: JudgedImage, word: Word) -> None:
        """Record a person's word; earlier words stay."""
        row = (
            image.id, image.product, word.said, word.note, word.who, word.client,
            word.at.timestamp(),
        )  # fmt: skip
        with self._connected() as connection:
            connection.execute(
                "INSERT INTO words (image, product, said, note, who, client, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def file(self, image: JudgedImage, suffix: str | None = None) -> Path:
        """The file as it was sent, or its PREVIEW or HEATMAP."""
        day = f"{image.at.astimezone(UTC):%Y-%m-%d}"
        name = f"{image.id}{image.suffix if suffix is None else suffix}"
        return place_of(self.root, image.product) / day / name

    def has_file(self, image: JudgedImage) -> bool:
        """Whether the file is still on the disk: a person may have deleted it."""
        return self.file(image).is_file()

    def content(self, image: JudgedImage) -> bytes:
        """The file as it was sent.

        Raises:
            DataError: it is gone or was altered.
        """
        try:
            found = self.file(image).read_bytes()
        except OSError as exc:
            raise DataError(f"the kept image {image.id} cannot be read: {exc.strerror}") from exc
        if hashlib.sha256(found).hexdigest() != image.sha256:
            raise DataError(f"the kept image {image.id} was altered; it is not used")
        return found

    def _delete(self, image: JudgedImage) -> None:
        for suffix in (image.suffix, PREVIEW, HEATMAP):
            self.file(image, suffix).unlink(missing_ok=True)
        with self._connected() as connection:
            connection.execute("DELETE FROM images WHERE id = ?", (image.id,))
            row = (image.id, image.log_id)
            connection.execute("INSERT INTO removed (image, log_id) VALUES (?, ?)", row)
            connection.execute(
                "DELETE FROM removed WHERE number <= (SELECT MAX(number) FROM removed) - ?",
                (MOST_REMOVED,),
            )

    def _select(self, where: str, values: tuple[object, ...]) -> list[JudgedImage]:
        with self._connected() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM images WHERE {where}", values
            ).fetchall()
            return [_image(row, _words(connection, row[0])) for row in rows]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed; other processes may write at the same time.

        Raises:
            DataError: the file is damaged.
        """
        file = self.root / INDEX
        try:
            with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
                yield connection
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as exc:
            raise DataError(
                f"{file}, which lists the kept images and what people said about them, is damaged "
                f"({exc}). Put a backup in its place, or move it away to begin with an empty one."
            ) from exc


def _image(row: Sequence[Any], words: tuple[Word, ...] = ()) -> JudgedImage:
    values: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["at"] = datetime.fromtimestamp(values["at"], UTC)
    values["is_anomalous"] = bool(values["is_anomalous"])
    values["facts"] = json.loads(values["facts"])
    return JudgedImage(**values, words=words)


def _words(connection: sqlite3.Connection, identifier: str) -> tuple[Word, ...]:
    rows = connection.execute(
        "SELECT said, note, who, client, at, number FROM words WHERE image = ? ORDER BY number",
        (identifier,),
    )
    return tuple(
        Word(said, note, who, client, datetime.fromtimestamp(at, UTC), number)
        for said, note, who, client, at, number in rows
    )
