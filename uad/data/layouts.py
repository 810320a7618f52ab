"""Find the images of a dataset: one small function a layout, detected from what is there.

Nothing is opened here but lists; `checks` looks at the files.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from uad.data.samples import GOOD, natural
from uad.errors import DataError
from uad.images import SUFFIXES

TRAIN, TEST = "train", "test"
NORMAL_NAMES = frozenset({"good", "normal", "ok"})
_MASK_FOLDERS = frozenset({"ground_truth", "masks", "mask", "annotations"})
_DEFECT_NAMES = frozenset(
    {"bad", "ng", "nok", "reject", "rejects", "defect", "defects", "defective", "anomaly"}
    | {"anomalies", "anomalous", "abnormal", TEST}
)
_MASK_ENDINGS = ("_mask", "", "-mask", "_gt")


@dataclass(frozen=True)
class Item:
    """One image that a layout names, before anything was read."""

    path: Path
    name: str
    """Relative to the dataset's root, with forward slashes."""
    split: str
    """`train` or `test`."""
    defect: str
    """`good`, or what the defect is called."""
    mask: Path | None = None
    mask_decides: bool = False
    """The layout has no labels: an image is anomalous if its mask marks something."""
    mask_expected: bool = False
    """Other images of this defect have masks, so a missing one is worth a word."""


@dataclass(frozen=True)
class Listing:
    """What a layout found."""

    root: Path
    layout: str
    items: tuple[Item, ...]
    missing: tuple[Path, ...] = ()
    """Files that a list names and that are not there."""


def find(path: Path) -> Listing:
    """Detect the layout of `path` (a folder or a manifest file) and list its images.

    Raises:
        DataError: nothing there, no images, or several datasets side by side.
    """
    path = path.expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    try:
        return _find(path)
    except OSError as exc:
        where = exc.filename or path
        raise DataError(f"cannot read {where}: {exc.strerror}; check its permissions") from exc


def _find(path: Path) -> Listing:
    from uad.data import manifests

    if path.is_file():
        return manifests.manifest(path.parent, path)
    if has_folder(path, TRAIN):
        return mvtec(path)
    if file := manifests.manifest_in(path):
        return manifests.manifest(path, file)
    if (path / "train.txt").is_file():
        return manifests.paddlex(path)
    _refuse_collection(path)
    _refuse_defects_without_good(path)
    if any(entry.name.lower() in NORMAL_NAMES for entry in folders(path)):
        return good_and_bad(path)
    return bare(path)


def mvtec(root: Path) -> Listing:
    """train/good, test/<defect>, ground_truth/<defect>/<stem>_mask.png (or <stem>.png).

    Images directly in train/ or test/good also count; a training folder that is not called good,
    normal or ok holds anomalous images.
    """
    items = [*_in_defect_folders(root, root / TRAIN, TRAIN)]
    if has_folder(root, TEST):
        items += _in_defect_folders(root, root / TEST, TEST)
    return _listing(root, "MVTec AD", items)


def good_and_bad(root: Path) -> Listing:
    """good/ (or normal/, ok/) beside folders named after defects; masks in ground_truth/ or masks/.

    Good images train, all others test.
    """
    items = [
        item if item.defect == GOOD else replace(item, split=TEST)
        for item in _in_defect_folders(root, root, TRAIN)
    ]
    return _listing(root, "good/ and defect folders", items)


def bare(root: Path) -> Listing:
    """Any folder: every image in it, at any depth, is normal."""
    items = [_item(root, file, TRAIN, GOOD) for file in image_files(root)]
    return _listing(root, "folder of normal images", items)


def image_files(folder: Path) -> list[Path]:
    """Files with an image suffix at any depth, hidden ones left out, in the order of names."""
    return sorted(file for file in _files(folder) if file.suffix.lower() in SUFFIXES)


def folders(folder: Path) -> list[Path]:
    """The visible folders directly inside, in the order of names."""
    return sorted(f for f in folder.iterdir() if f.is_dir() and not _hidden(f.name))


def has_folder(root: Path, name: str) -> bool:
    """Whether `root` has a folder of that name."""
    return (root / name).is_dir()


def relative_name(root: Path, file: Path) -> str:
    """The path relative to `root` with forward slashes; absolute for files elsewhere."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()


def _in_defect_folders(root: Path, parent: Path, split: str) -> Iterator[Item]:
    """The images of parent/<defect>/**; those directly in `parent` are normal."""
    for file in sorted(f for f in parent.iterdir() if _is_image(f)):
        yield _item(root, file, split, GOOD)
    for folder in folders(parent):
        if folder.name.lower() in _MASK_FOLDERS:
            continue
        good = folder.name.lower() in NORMAL_NAMES
        masks = {} if good else _masks(root, folder.name)
        for file in image_files(folder):
            yield Item(
                path=file,
                name=relative_name(root, file),
                split=split,
                defect=GOOD if good else folder.name,
                mask=_mask_of(file.relative_to(folder), masks),
                mask_expected=bool(masks),
            )


def _masks(root: Path, defect: str) -> dict[str, Path]:
    """Masks of one defect by their relative path without suffix."""
    for name in sorted(_MASK_FOLDERS):
        folder = root / name / defect
        if folder.is_dir():
            return {
                f.relative_to(folder).with_suffix("").as_posix(): f for f in image_files(folder)
            }
    return {}


def _mask_of(relative: Path, masks: dict[str, Path]) -> Path | None:
    stem = relative.with_suffix("").as_posix()
    return next((masks[stem + end] for end in _MASK_ENDINGS if stem + end in masks), None)


def _item(root: Path, file: Path, split: str, defect: str) -> Item:
    return Item(path=file, name=relative_name(root, file), split=split, defect=defect)


def _listing(root: Path, layout: str, items: list[Item]) -> Listing:
    if not items:
        raise DataError(f"{root} holds no images {_what_is_there(root)}")
    return Listing(root, layout, tuple(items))


def _what_is_there(root: Path) -> str:
    others = sorted({file.suffix.lower() or "no suffix" for file in _files(root)})
    found = f"(only files with {natural(others)}); " if others else "(it is empty); "
    return f"{found}put {', '.join(SUFFIXES[:3])}, .bmp, .tif or .webp files there"


def _refuse_collection(root: Path) -> None:
    """The parent of several MVTec categories is no dataset: training on all would be wrong."""
    inside = [folder.name for folder in folders(root) if has_folder(folder, TRAIN)]
    if inside:
        raise DataError(
            f"{root} holds {len(inside)} datasets ({natural(inside)}); "
            f"ingest one at a time, for example {root / inside[0]}"
        )


def _refuse_defects_without_good(root: Path) -> None:
    """A bare folder is all normal; one that names defects or masks is not bare."""
    names = {folder.name.lower() for folder in folders(root)}
    strange = sorted(names & (_DEFECT_NAMES | _MASK_FOLDERS))
    if strange and not names & NORMAL_NAMES:
        raise DataError(
            f"{root} has a folder '{strange[0]}' but none that says which images are good; "
            "put those into train/good, or name the folder of good images itself"
        )


def _files(folder: Path) -> Iterator[Path]:
    """All visible files at any depth; linked folders are followed, loops are not."""
    seen: set[str] = set()
    for parent, names, files in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(parent)
        names[:] = [] if real in seen else sorted(n for n in names if not _hidden(n))
        if real not in seen:
            yield from (Path(parent, name) for name in files if not _hidden(name))
        seen.add(real)


def _raise(error: OSError) -> None:
    raise error


def _is_image(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() in SUFFIXES and not _hidden(file.name)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
