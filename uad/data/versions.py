"""The stored dataset versions: each an immutable list, over files that are stored once.

    datasets/objects/ab/abcd....png              every file once, whatever versions use it
    datasets/cookie/versions/1f2e3d4c5b6a.json   one version: names, labels, hashes; never changed
    datasets/cookie/history.json                 what was ingested when; the last is the latest

A version is named by its content, so the same images are the same version on any machine. Files
are copied in, never linked: a user who edits the source does not alter a version. Nothing is
deleted but by `uad gc`.
"""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock
from pydantic import ValidationError

from uad.config.training import Areas, Zones
from uad.data.checks import Scan
from uad.data.dataset_version import (
    DatasetVersion,
    StoredFolder,
    StoredImage,
    StoredProblem,
    counts_of,
    stored_images,
    version_id,
)
from uad.data.object_store import break_seal, is_whole, keep
from uad.data.reading import Checked, shown
from uad.data.samples import Problem, natural, readable
from uad.errors import DataError, InvalidNameError
from uad.storage import names
from uad.storage.atomic_writes import write_file
from uad.storage.names import place_of
from uad.storage.paths import datasets_dir

FEWER = 0.5
"""A version with less than this share of the good images of the one before is said."""
log = logging.getLogger(__name__)
_RESERVED = frozenset({"objects"})


def check_name(name: str) -> str:
    """The name, if it can name a dataset; see `uad.storage.names.check_name`."""
    if name in _RESERVED:
        raise InvalidNameError(
            f"'{name}' cannot name a dataset: uad keeps the images of all datasets under this "
            "name. Choose another"
        )
    return names.check_name(name, "dataset")


def store(
    found: Scan, name: str, *, source: Path, group_pattern: str | None, progress: bool
) -> DatasetVersion:
    """Copy the scan's files into the store and write its version; safe beside other ingests.

    A file that changed since it was scanned is left out and named. Zones stay as they are in the
    latest version.

    Raises:
        DataError: a bad name, or no normal training image is left.
    """
    check_name(name)
    _folder(name).mkdir(parents=True, exist_ok=True)
    with FileLock(_folder(name) / ".lock"):
        kept, late = _kept(found.entries, progress)
        images = stored_images(kept)
        if not any(image.split == "train" and not image.label for image in images):
            raise DataError(f"all normal images of {source} are being written; ingest again later")
        before = _latest(name)
        told = [*late, *_fewer(images, before, source)]
        fresh = _version(found, images, told, name, source, group_pattern)
        if before:
            fresh = _zoned(fresh, before.ignore, before.zones)
        return _record(fresh)


def _fewer(
    images: Sequence[StoredImage], before: DatasetVersion | None, source: Path
) -> list[Problem]:
    """A folder that lost most of its images may be on a disk that is not there now."""
    had, has = (before.counts if before else {}).get("normal", 0), counts_of(images)["normal"]
    if has >= FEWER * had:
        return []
    message = (
        f"{has} good images to learn from, but the version before had {had}; stored all the same. "
        "If images are missing by mistake (a disk that is not connected, a wrong folder), ingest "
        "again when they are back. The earlier version is kept"
    )
    return [Problem(source, "fewer", message)]


def _latest(name: str) -> DatasetVersion | None:
    """The latest version that can be read."""
    rows = reversed(history(name))
    found = (_read_if_whole(_file(name, row["version"])) for row in rows)
    return next((version for version in found if version), None)


def _version(
    found: Scan,
    images: tuple[StoredImage, ...],
    told: Sequence[Problem],
    name: str,
    source: Path,
    group_pattern: str | None,
) -> DatasetVersion:
    return DatasetVersion(
        name=name,
        version=version_id(images, group_pattern),
        created=datetime.now(UTC).replace(microsecond=0),
        source=readable(source.absolute()),
        layout=found.layout,
        counts=counts_of(images),
        group_pattern=group_pattern,
        images=images,
        folders=tuple(
            StoredFolder(folder=readable(row.folder), images=row.images, use=readable(row.use))
            for row in found.folders
        ),
        reported=tuple(StoredProblem.of(problem) for problem in (*told, *found.problems)),
    )


def _kept(entries: Sequence[Checked], progress: bool) -> tuple[list[Checked], list[Problem]]:
    """Entries whose files are in the store now; the others changed meanwhile."""
    kept, late = [], []
    for entry in shown(entries, len(entries), "Storing", progress):
        whole = keep(entry.item.path, entry.facts)
        if whole and entry.mask is not None and entry.mask_facts is not None:
            whole = keep(entry.mask, entry.mask_facts)
        if whole:
            kept.append(entry)
        else:
            message = f"{entry.item.name} is left for next time: it changed while it was ingested"
            late.append(Problem(entry.item.path, "unfinished", message))
    return kept, late


def extend(base: DatasetVersion, images: Sequence[StoredImage]) -> DatasetVersion:
    """Make `base` with these images instead of its own the latest version of its dataset.

    The images' files must be in the store.
    """
    version = base.model_copy(
        update={
            "version": version_id(images, base.group_pattern, base.ignore, base.zones),
            "created": datetime.now(UTC).replace(microsecond=0),
            "counts": counts_of(images),
            "images": tuple(images),
        }
    )
    with FileLock(_folder(base.name) / ".lock"):
        return _record(version)


def with_zones(base: DatasetVersion, ignore: Areas, zones: Zones = ()) -> DatasetVersion:
    """Make `base` with these zones the latest version of its dataset."""
    created = datetime.now(UTC).replace(microsecond=0)
    version = _zoned(base, ignore, zones).model_copy(update={"created": created})
    with FileLock(_folder(base.name) / ".lock"):
        return _record(version)


def _zoned(base: DatasetVersion, ignore: Areas, zones: Zones) -> DatasetVersion:
    name = version_id(base.images, base.group_pattern, ignore, zones)
    return base.model_copy(update={"version": name, "ignore": ignore, "zones": zones})


def differ_in_zones_only(name: str, one: str, two: str) -> bool:
    """Whether two stored versions hold the same images, split alike, and ignore the same regions.

    What is left to differ are the zones with an alpha of their own.
    """
    found = [_read_if_whole(_file(name, version)) for version in (one, two)]
    if found[0] is None or found[1] is None:
        return False
    facts = [(version_id(each.images, each.group_pattern, each.ignore)) for each in found if each]
    return facts[0] == facts[1]


def read_version(address: str) -> DatasetVersion:
    """The version that `name` (the latest) or `name@version` (or the start of it) stands for.

    Raises:
        DataError: no such dataset or version, or an unreadable version file.
    """
    name, _, wanted = address.partition("@")
    log = history(name)
    if not log:
        known = dataset_names()
        having = f"; there are {natural(known)}" if known else ""
        raise DataError(f"no dataset '{name}'{having}; make it with: uad ingest PATH --name {name}")
    versions = list(dict.fromkeys(row["version"] for row in reversed(log)))
    matches = [version for version in versions if version.startswith(wanted)]
    if wanted and len(matches) != 1:
        reason = "is ambiguous" if matches else "does not exist"
        raise DataError(
            f"version '{wanted}' of dataset '{name}' {reason}; there are {natural(versions)}"
        )
    return _read(_file(name, matches[0]))


def images_of(name: str, version: str) -> tuple[StoredImage, ...]:
    """The images of one version, whether the history names it or not.

    Raises:
        DataError: its file is gone or damaged.
    """
    return _read(_file(name, version)).images


def history(name: str) -> list[dict[str, str]]:
    """Ingests of a dataset, oldest first: `version`, `time` and `source`; empty if unknown."""
    if not names.is_name(name) or name in _RESERVED:
        return []
    file = _folder(name) / "history.json"
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return [{key: str(row[key]) for key in ("version", "time", "source")} for row in rows]
    except FileNotFoundError:
        pass  # a new dataset; or it was lost
    except (ValueError, TypeError, LookupError):
        log.warning("%s is damaged. The versions beside it say what was ingested when.", file)
    return _history_by_versions(name)


def versions_on_disk(name: str) -> list[str]:
    """The versions of a dataset that have a file, whether the history names them or not."""
    return sorted(file.stem for file in (_folder(name) / "versions").glob("*.json"))


def _history_by_versions(name: str) -> list[dict[str, str]]:
    """What the versions themselves say of when they were made; ingests of old images are lost."""
    found = (_read_if_whole(_file(name, version)) for version in versions_on_disk(name))
    made = sorted((each for each in found if each), key=lambda version: version.created)
    return [
        {"version": each.version, "time": each.created.isoformat(), "source": each.source}
        for each in made
    ]


def is_stored(data: str) -> bool:
    """Whether `cookie` or `cookie@1f2e3d4c5b6a` names a dataset that was ingested."""
    return bool(history(data.partition("@")[0]))


def dataset_names() -> list[str]:
    """Names of all stored datasets."""
    named = {file.parent.name for file in datasets_dir().glob("*/history.json")}
    made = {file.parent.parent.name for file in datasets_dir().glob("*/versions/*.json")}
    return sorted(unquote(folder) for folder in named | made)


def forget(name: str, version: str, before: datetime) -> None:
    """Remove a version unless it was ingested since `before`; its files stay until swept."""
    with FileLock(_folder(name) / ".lock"):
        log = history(name)
        own = [row for row in log if row["version"] == version]
        if any(datetime.fromisoformat(row["time"]) >= before for row in own):
            return
        rest = [row for row in log if row["version"] != version]
        write_file(_folder(name) / "history.json", json.dumps(rest, indent=1))
        _file(name, version).unlink(missing_ok=True)


def verify(version: DatasetVersion, *, progress: bool = True) -> list[str]:
    """Hash every stored file of a version again, seal or not.

    Returns:
        Names of images whose file or mask is gone or altered; their seals are broken, so that
        nothing uses them and the next ingest stores them anew.
    """
    altered = []
    for stored in shown(version.images, len(version.images), "Verifying", progress):
        bad = [file for file in stored.files if not is_whole(file)]
        for file in bad:
            break_seal(file)
        if bad:
            altered.append(stored.name)
    return altered


def _record(version: DatasetVersion) -> DatasetVersion:
    """Write the version unless it exists, and note in the history that it is the latest.

    What is returned has the problems of this ingest, also where the version is an earlier one.
    """
    file = _file(version.name, version.version)
    first, before = _read_if_whole(file), history(version.name)
    if first is None:
        write_file(file, version.model_dump_json(indent=1))
    row = {
        "version": version.version,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": version.source,
    }
    write_file(_folder(version.name) / "history.json", json.dumps([*before, row], indent=1))
    if first is None:
        return version
    return first.model_copy(update={"reported": version.reported, "folders": version.folders})


def _read_if_whole(file: Path) -> DatasetVersion | None:
    try:
        return _read(file)
    except DataError:
        return None


def _read(file: Path) -> DatasetVersion:
    try:
        return DatasetVersion.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as exc:
        raise DataError(f"{file} is missing or damaged; ingest the images again") from exc


def _folder(name: str) -> Path:
    return place_of(datasets_dir(), name)


def _file(name: str, version: str) -> Path:
    return _folder(name) / "versions" / f"{version}.json"
