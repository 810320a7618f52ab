"""Dataset versions: files stored once by content, and an immutable list of what makes a version.

    datasets/objects/ab/abcd....png          every file once, whatever versions use it
    datasets/cookie/versions/1f2e3d4c5b6a.json   one version: names, labels, hashes; never changed
    datasets/cookie/history.json             which version was ingested when; the last is the latest

A version is named by its content, so the same images are the same version on any machine. Files
are copied in, never linked: a user who edits the source does not alter a version. Nothing is
deleted.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from uad.data.checks import Checked, Scan, shown
from uad.data.index import Facts
from uad.data.samples import Problem, Sample, natural
from uad.errors import DataError
from uad.home import datasets_dir

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED = frozenset({"objects"})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredFile(_Part):
    """A file of the store."""

    sha256: str
    bytes: int
    format: str
    height: int
    width: int

    @property
    def path(self) -> Path:
        """Where the store keeps it; its suffix follows from its content."""
        return datasets_dir() / "objects" / self.sha256[:2] / f"{self.sha256}.{self.format}"


class StoredImage(_Part):
    """One image of a version."""

    name: str
    split: str
    """`train` or `test`."""
    label: int
    defect: str
    image: StoredFile
    mask: StoredFile | None = None


class StoredProblem(_Part):
    """A problem as it was reported when the version was made."""

    path: str
    kind: str
    message: str


class DatasetVersion(_Part):
    """An immutable version of a dataset, as stored."""

    format: int = 1
    name: str
    version: str
    """12 hexadecimal digits; see `version_id`."""
    created: datetime
    source: str
    """The folder or manifest it was made of."""
    layout: str
    counts: dict[str, int]
    """normal (for training), test_normal, test_anomalous, masks."""
    group_pattern: str | None = None
    """Used to split the normals unless the training's settings name another."""
    images: tuple[StoredImage, ...]
    reported: tuple[StoredProblem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was reported when it was made."""
        return tuple(Problem(Path(p.path), p.kind, p.message) for p in self.reported)

    @property
    def address(self) -> str:
        """`name@version`, for --data."""
        return f"{self.name}@{self.version}"


def check_name(name: str) -> str:
    """The name, if it can name a dataset: letters, digits, dash, underscore, dot."""
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise DataError(
            f"'{name}' cannot name a dataset; use letters, digits, '-', '_' and '.', "
            "beginning with a letter or digit"
        )
    return name


def stored_images(entries: Iterable[Checked]) -> tuple[StoredImage, ...]:
    """What a version remembers of checked images."""
    return tuple(
        StoredImage(
            name=entry.item.name,
            split=entry.item.split,
            label=entry.label,
            defect=entry.item.defect,
            image=_stored(entry.facts),
            mask=None if entry.mask_facts is None else _stored(entry.mask_facts),
        )
        for entry in entries
    )


def version_id(images: Iterable[StoredImage], group_pattern: str | None = None) -> str:
    """First 12 hexadecimal digits of a hash of names, uses, labels and contents.

    Neither time nor place enters: the same images are the same version everywhere.
    """
    rows = sorted(
        (i.name, i.split, i.defect, i.image.sha256, i.mask.sha256 if i.mask else "") for i in images
    )
    content: list[object] = [rows] if group_pattern is None else [rows, group_pattern]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def store(
    found: Scan, name: str, *, source: Path, group_pattern: str | None, progress: bool
) -> DatasetVersion:
    """Copy the scan's files into the store and write its version; safe beside other ingests."""
    check_name(name)
    images = stored_images(found.entries)
    version = DatasetVersion(
        name=name,
        version=version_id(images, group_pattern),
        created=datetime.now(UTC).replace(microsecond=0),
        source=str(source.absolute()),
        layout=found.layout,
        counts=_counts(images),
        group_pattern=group_pattern,
        images=images,
        reported=tuple(
            StoredProblem(path=str(p.path), kind=p.kind, message=p.message) for p in found.problems
        ),
    )
    _folder(name).mkdir(parents=True, exist_ok=True)
    with FileLock(_folder(name) / ".lock"):
        for entry in shown(found.entries, len(found.entries), "Storing", progress):
            _keep(entry.item.path, entry.facts)
            if entry.mask is not None and entry.mask_facts is not None:
                _keep(entry.mask, entry.mask_facts)
        return _record(version)


def read_version(address: str) -> DatasetVersion:
    """The version that `name` (the latest) or `name@version` (or the start of it) stands for.

    Raises:
        DataError: no such dataset or version, or an unreadable manifest.
    """
    name, _, wanted = address.partition("@")
    log = history(name)
    if not log:
        known = dataset_names()
        having = f"; there are {natural(known)}" if known else ""
        raise DataError(f"no dataset '{name}'{having}; make it with: uad ingest PATH --name {name}")
    matches = {row["version"] for row in log if row["version"].startswith(wanted)}
    if wanted and len(matches) != 1:
        reason = "is ambiguous" if matches else "does not exist"
        versions = natural(dict.fromkeys(row["version"] for row in reversed(log)))
        raise DataError(f"version '{wanted}' of dataset '{name}' {reason}; there are {versions}")
    version = matches.pop() if wanted else log[-1]["version"]
    return _read(_folder(name) / "versions" / f"{version}.json")


def history(name: str) -> list[dict[str, str]]:
    """Ingests of a dataset, oldest first: `version`, `time` and `source`; empty if unknown."""
    if not _NAME.fullmatch(name):
        return []
    file = _folder(name) / "history.json"
    if not file.is_file():
        return []
    rows: list[dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
    return rows


def dataset_names() -> list[str]:
    """Names of all stored datasets."""
    return sorted(file.parent.name for file in datasets_dir().glob("*/history.json"))


def stored_sample(stored: StoredImage) -> Sample:
    """The image as the store keeps it.

    Raises:
        DataError: its file is gone or was cut short.
    """
    return Sample(
        path=_present(stored.image, stored.name),
        label=stored.label,
        defect=stored.defect,
        mask=None if stored.mask is None else _present(stored.mask, stored.name),
        sha256=stored.image.sha256,
        size=(stored.image.height, stored.image.width),
        name=stored.name,
    )


def verify(version: DatasetVersion, *, progress: bool = True) -> list[str]:
    """Names of images whose stored bytes (or mask's) are missing or no longer those hashed."""
    altered = []
    for stored in shown(version.images, len(version.images), "Verifying", progress):
        files = [stored.image] if stored.mask is None else [stored.image, stored.mask]
        if not all(_is_whole(file) for file in files):
            altered.append(stored.name)
    return altered


def _stored(facts: Facts) -> StoredFile:
    return StoredFile(
        sha256=facts.sha256,
        bytes=facts.bytes,
        format=facts.format,
        height=facts.size[0],
        width=facts.size[1],
    )


def _counts(images: Iterable[StoredImage]) -> dict[str, int]:
    counts = {"normal": 0, "test_normal": 0, "test_anomalous": 0, "masks": 0}
    for image in images:
        test = "test_anomalous" if image.label else "test_normal"
        counts["normal" if image.split == "train" else test] += 1
        counts["masks"] += image.mask is not None
    return counts


def _folder(name: str) -> Path:
    return datasets_dir() / name


def _keep(source: Path, facts: Facts) -> None:
    """Copy a file into the store unless it is there; refuse one that changed since it was read."""
    target = _stored(facts).path
    if target.is_file() and target.stat().st_size == facts.bytes:
        return
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != facts.sha256:
        raise DataError(f"{source} changed while it was being ingested; run the command again")
    _write_whole(target, data)
    target.chmod(0o444)


def _record(version: DatasetVersion) -> DatasetVersion:
    """Write the version unless it exists, and note in the history that it is the latest."""
    file = _folder(version.name) / "versions" / f"{version.version}.json"
    if file.is_file():
        version = _read(file)
    else:
        _write_whole(file, version.model_dump_json(indent=1).encode())
    row = {
        "version": version.version,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": version.source,
    }
    log: list[dict[str, Any]] = [*history(version.name), row]
    _write_whole(_folder(version.name) / "history.json", json.dumps(log, indent=1).encode())
    return version


def _read(file: Path) -> DatasetVersion:
    try:
        return DatasetVersion.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as exc:
        raise DataError(f"{file} is missing or damaged; ingest the images again") from exc


def _present(file: StoredFile, name: str) -> Path:
    try:
        whole = file.path.stat().st_size == file.bytes
    except OSError:
        whole = False
    if not whole:
        raise DataError(
            f"the stored file of {name} ({file.path}) is gone or cut short; ingest again"
        )
    return file.path


def _is_whole(file: StoredFile) -> bool:
    try:
        return hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    except OSError:
        return False


def _write_whole(target: Path, data: bytes) -> None:
    """Write and rename, so that a reader sees all or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
