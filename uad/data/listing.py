"""What a layout finds before any image is opened: pictures, their uses, what is left over."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TRAIN, TEST = "train", "test"
_SHOWN = 12
"""Folders that a refusal lists."""


@dataclass(frozen=True)
class ListedImage:
    """One image that a layout names, before anything was read."""

    path: Path
    name: str
    """Relative to the dataset's root, with forward slashes."""
    split: str
    """`train` or `test`."""
    defect: str
    """`good`, or what the defect is called."""
    mask: Path | None = None
    more_masks: tuple[Path, ...] = ()
    """Further masks of the same image; an image is defective where any of them says so."""
    mask_decides: bool = False
    """The layout has no labels: an image is anomalous if its mask marks something."""
    mask_expected: bool = False
    """Other images of this defect have masks, so a missing one is worth a word."""
    assumed_good: bool = False
    """The image counts as good only because nothing says otherwise."""
    split_given: bool = True
    """The layout says which images train."""


@dataclass(frozen=True)
class FolderUse:
    """What the images directly in one folder are used for."""

    folder: str
    """Relative to the dataset's root; `.` for the root itself."""
    images: int
    use: str
    """In words, for the table that `uad ingest` prints."""
    unused: bool = False


@dataclass(frozen=True)
class Listing:
    """What a layout found."""

    root: Path
    layout: str
    images: tuple[ListedImage, ...]
    missing: tuple[Path, ...] = ()
    """Files that a list names and that are not there."""
    unlabelled: tuple[Path, ...] = ()
    """Test images that a list names without saying whether they are good; they are not used."""
    folders: tuple[FolderUse, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    """What a person should know about how the folder was read."""


@dataclass(frozen=True)
class FolderRoles:
    """What a person says that folders hold; see `--normal`, `--defects` and `--masks`.

    Each is a path below the dataset's folder, or any other path.
    """

    normal: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.normal or self.defects or self.masks)


def relative_name(root: Path, file: Path) -> str:
    """The path relative to `root` with forward slashes; absolute for files elsewhere."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()


def folder_uses(root: Path, uses: Iterable[tuple[Path, str, bool]]) -> tuple[FolderUse, ...]:
    """Count images by folder and use; each item is an image, its use, and whether it is unused."""
    counts: dict[tuple[str, str, bool], int] = {}
    for file, use, unused in uses:
        key = (relative_name(root, file.parent), use, unused)
        counts[key] = counts.get(key, 0) + 1
    return tuple(FolderUse(f, count, u, n) for (f, u, n), count in sorted(counts.items()))


def uses_in_words(rows: Sequence[FolderUse]) -> str:
    """`good: 6 good, for training; bad: 2 defective (bad), for testing`, for a refusal."""
    told = "; ".join(f"{row.folder}: {row.images} {row.use}" for row in rows[:_SHOWN])
    return told + (f"; and {len(rows) - _SHOWN} more folders" if len(rows) > _SHOWN else "")


def together(rows: Sequence[FolderUse], most: int) -> list[FolderUse]:
    """The rows; sub-folders of one use become `folder/*` until there are at most `most`."""
    found = list(rows)
    while len(found) > most and (deepest := max(_depth(row.folder) for row in found)):
        counts: dict[tuple[str, str, bool], int] = {}
        for row in found:
            folder = _above(row.folder) if _depth(row.folder) == deepest else row.folder
            key = (folder, row.use, row.unused)
            counts[key] = counts.get(key, 0) + row.images
        found = [FolderUse(f, count, u, n) for (f, u, n), count in counts.items()]
    return found


def _depth(folder: str) -> int:
    """0 for the dataset's folder and for `*`, 1 for `a` and `a/*`, 2 for `a/b`."""
    return folder.count("/") + (not folder.endswith(("*", ".")))


def _above(folder: str) -> str:
    parent = folder.removesuffix("/*").rpartition("/")[0]
    return f"{parent}/*" if parent else "*"
