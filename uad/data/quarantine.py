"""Files that an ingest could not use, copied aside for a person to look at.

    quarantine/cookie/1f2e3d4c5b6a-000.png     a copy, named by content: the same file once
    quarantine/cookie/list.jsonl               a line a copy: where it came from, and why

The user's files stay where they are, and nothing here is ever deleted.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from uad.data.checks import Scan
from uad.data.samples import Problem, readable
from uad.storage.atomic_writes import write_file
from uad.storage.names import place_of
from uad.storage.paths import quarantine_dir

FAILED = frozenset({"broken", "mask"})


@dataclass(frozen=True)
class Quarantined:
    """A file that failed."""

    file: str
    """The copy's name in the dataset's folder; empty if the file could not be read at all."""
    path: str
    """Where it was."""
    kind: str
    """`broken`, or `mask`: a mask that does not fit its image or cannot be decoded."""
    message: str
    time: str
    """ISO 8601, UTC."""


def quarantine(name: str, found: Scan) -> list[Quarantined]:
    """Copy the scan's unusable files; what lies there already is not copied or listed again.

    Returns:
        What is new.
    """
    images = {entry.item.path for entry in found.entries}
    failed = [p for p in found.problems if p.kind in FAILED and p.path not in images]
    if not failed:
        return []
    folder = folder_of(name)
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        listed = {(row.file, row.path) for row in quarantined(name)}
        rows = [_copied(folder, problem) for problem in failed]
        new = [row for row in rows if (row.file, row.path) not in listed]
        with (folder / "list.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in new)
    return new


def quarantined(name: str) -> list[Quarantined]:
    """What was put aside for a dataset, oldest first."""
    file = folder_of(name) / "list.jsonl"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Quarantined(**json.loads(line)) for line in lines]


def folder_of(name: str) -> Path:
    """Where a dataset's copies lie."""
    return place_of(quarantine_dir(), name)


def _copied(folder: Path, problem: Problem) -> Quarantined:
    try:
        data = problem.path.read_bytes()
    except OSError:
        file = ""
    else:
        file = f"{hashlib.sha256(data).hexdigest()[:12]}-{readable(problem.path.name)}"
        if not (folder / file).is_file():
            write_file(folder / file, data)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    place = readable(problem.path.absolute())
    return Quarantined(file, place, problem.kind, problem.message, now)
