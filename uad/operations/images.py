"""From what `--data` says to a stored dataset version."""

from dataclasses import dataclass
from pathlib import Path

from uad.data import FolderRoles, ingest
from uad.data.checks import scan
from uad.data.layouts import find
from uad.data.quarantine import quarantined
from uad.data.versions import check_name as check_dataset_name
from uad.data.versions import is_stored, read_version
from uad.evaluation.data_page import write_dataset_page
from uad.storage.names import DatasetAddress, check_name

SHOWN = 5
"""Findings that are told by their text; the page has all."""


@dataclass(frozen=True)
class StoredImages:
    """A dataset version and what is to be told about it."""

    address: DatasetAddress
    told: tuple[str, ...]


def check_images(data: str, product: str, roles: FolderRoles | None = None) -> None:
    """Check a path or a dataset's name before anything slow starts.

    Raises:
        DataError: there is neither, or the folder's layout is not known.
        InvalidNameError: the product's name cannot be one.
    """
    check_dataset_name(check_name(product))
    if _is_path(data) or not is_stored(data):
        find(Path(data).expanduser(), roles)


def images_sentence(data: str) -> str:
    """What `data` stands for: a folder or file of this name, else the stored dataset."""
    if not _is_path(data) and is_stored(data):
        return f"Images: the stored dataset {read_version(data).address}"
    place = Path(data).expanduser().absolute()
    if is_stored(data):
        return (
            f"Images: the folder {place}. A stored dataset has this name too; to use it, write "
            f"{read_version(data).address}"
        )
    return f"Images: {place}"


def store_images(
    data: str,
    name: str,
    *,
    roles: FolderRoles | None = None,
    settle_seconds: float = 0.0,
    progress: bool = False,
) -> StoredImages:
    """The dataset version that `data` stands for; a path is ingested as the dataset `name`.

    Of a path, files written in the last `settle_seconds` are left for next time; `roles` is what a
    person says of its folders.
    """
    check_images(data, name, roles)
    told = [images_sentence(data)]
    if not _is_path(data) and is_stored(data):
        version = read_version(data)
    else:
        version = ingest(Path(data), name, roles, settle_seconds=settle_seconds, progress=progress)
        page = write_dataset_page(version, version.problems, quarantined(name))
        count = "1 finding" if len(version.problems) == 1 else f"{len(version.problems)} findings"
        told.append(f"{count}, shown on {page}")
        told += [f"{problem.kind}: {problem.message}" for problem in version.problems[:SHOWN]]
        if len(version.problems) > SHOWN:
            told.append(f"and {len(version.problems) - SHOWN} more")
    told.append(f"dataset {version.address}: {counted(version.counts)}")
    return StoredImages(DatasetAddress(version.address), tuple(told))


def read_ahead(data: str, roles: FolderRoles | None = None, *, settle_seconds: float = 0.0) -> None:
    """Read and check the files of a path now. Ingesting them then reads only what has changed.

    Raises:
        DataError: as `ingest`.
    """
    if _is_path(data) or not is_stored(data):
        scan(Path(data), roles, settle_seconds=settle_seconds)


def counted(counts: dict[str, int]) -> str:
    """`31 normal, 14 test normal`; counts of zero are left out."""
    parts = [f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count]
    return ", ".join(parts) or "no images"


def _is_path(data: str) -> bool:
    try:
        return Path(data).expanduser().exists()
    except (OSError, RuntimeError):  # too long; no home folder of that user
        return False
