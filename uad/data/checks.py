"""Read and check every file of a listing: which can be used, and which problems to report."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from uad.data.file_index import Facts
from uad.data.layouts import find
from uad.data.listing import (
    TEST,
    TRAIN,
    FolderRoles,
    FolderUse,
    Listing,
    relative_name,
    uses_in_words,
)
from uad.data.near_duplicates import copies_among_good, similar_across_splits
from uad.data.outliers import outliers
from uad.data.reading import Checked, Reading, image_facts, mask_facts, merged_mask, read_all
from uad.data.samples import GOOD, Problem, natural
from uad.errors import DataError, ImageError

_BLACK_AND_WHITE = 0.5
"""A picture with this share of nearly black or white may be a silhouette, not a photograph."""
OnBroken = Literal["skip", "refuse"]


@dataclass(frozen=True)
class Scan:
    """A listing after every file was looked at."""

    root: Path
    layout: str
    entries: tuple[Checked, ...]
    problems: tuple[Problem, ...]
    files_read: int
    """Files that had to be read; the others were known from before."""
    folders: tuple[FolderUse, ...] = ()
    """What the images of each folder are used for."""


def scan(
    path: Path,
    roles: FolderRoles | None = None,
    *,
    on_broken: OnBroken = "skip",
    settle_seconds: float = 0.0,
    progress: bool = True,
    trains: bool = True,
) -> Scan:
    """Find and check the images of `path`; nothing is written but the index of known files.

    A broken image is skipped and reported, or refused with `on_broken="refuse"`. An unfinished file
    is left for the next time (see `reading.read_all`). Exact duplicates with the same split and
    label are used once. An anomalous training image is used for testing. If a mask is missing,
    broken, empty or of another size, its image is used without a mask, for image metrics. An image
    that looks like a mask, among images that are only assumed to be good, is taken as a mask.
    Near-duplicates, outliers and folders that are not used are reported.

    Args:
        path: a folder or a manifest.
        roles: what a person says that its folders hold.
        on_broken: `skip` or `refuse`.
        settle_seconds: leave files alone that were modified less than this ago.
        progress: show a bar while many files are read.
        trains: whether a training needs it; False if it only measures.

    Raises:
        DataError: no images, no normal training image (if it trains), pictures of which nothing
            says whether they are good, or a broken image with "refuse".
    """
    listing = find(Path(path), roles)
    read = _read_images(listing, settle_seconds, progress)
    if masks := _masks_by_content(listing, read.facts):
        listing = find(Path(path), roles, masks_by_content=masks)
    broken = [*_missing(listing), *_broken(listing, read)]
    if broken and on_broken == "refuse":
        count = len(listing.images) + len(listing.missing)
        raise DataError(
            f"{len(broken)} of {count} images in {path} cannot be used: "
            f"{broken[0].message}; repair or remove them, or skip them with --on-broken skip"
        )
    checked = [
        Checked(item, read.facts[item.path]) for item in listing.images if item.path in read.facts
    ]
    checked, unmerged = _with_merged_masks(checked)
    masks_of = [entry.item.mask for entry in checked if entry.item.mask]
    read_masks = _read(listing.root, masks_of, "mask", settle_seconds, progress)
    checked = [entry for entry in checked if entry.item.mask not in read_masks.unfinished]
    checked, mask_problems = _with_masks(checked, read_masks)
    checked, moved = _anomalous_to_test(checked)
    checked, twins = _without_duplicates(checked)
    late = _unfinished(listing.root, {**read.unfinished, **read_masks.unfinished})
    ahead = [*read.from_the_future, *read_masks.from_the_future]
    copies = (*copies_among_good(checked), *similar_across_splits(checked))
    remarks = (*_remarks(checked), *copies, *outliers(checked))
    told = (*_of_folders(listing), *_from_the_future(listing.root, ahead))
    problems = (*told, *broken, *late, *unmerged, *mask_problems, *moved, *twins, *remarks)
    if trains:
        _refuse_without_normals(listing, checked, [*broken, *late])
    entries = tuple(sorted(checked, key=lambda entry: entry.item.name))
    files_read = read.files_read + read_masks.files_read
    return Scan(listing.root, listing.layout, entries, problems, files_read, listing.folders)


def _read_images(listing: Listing, settle_seconds: float, progress: bool) -> Reading:
    files = [image.path for image in listing.images]
    return _read(listing.root, files, "image", settle_seconds, progress)


def _masks_by_content(listing: Listing, facts: Mapping[Path, Facts]) -> frozenset[Path]:
    """Pictures of a few flat colours among photographs that are only assumed to be good.

    A whole folder of them, or some beside photographs. Parts before a lamp may be nearly black and
    white too; beside such pictures a flat one is only reported.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for image in listing.images:
        if image.assumed_good and image.path in facts:
            folders[image.path.parent].append(image.path)
    flat = {path for files in folders.values() for path in files if facts[path].remark == "flat"}
    if len(flat) == sum(map(len, folders.values())):
        return frozenset()
    found: set[Path] = set()
    for files in folders.values():
        others = [path for path in files if path not in flat]
        if not others or np.median([_extreme(facts[path]) for path in others]) < _BLACK_AND_WHITE:
            found |= flat.intersection(files)
    return frozenset(found)


def _extreme(facts: Facts) -> float:
    """Share of an image's thumbnail that is nearly black or nearly white."""
    levels = np.frombuffer(facts.thumbnail, np.uint8)
    return float(((levels < 16) | (levels > 239)).mean()) if levels.size else 0.0


def _with_merged_masks(checked: Sequence[Checked]) -> tuple[list[Checked], list[Problem]]:
    """Several masks of an image become one."""
    result, problems = [], []
    for entry in checked:
        item = entry.item
        if item.mask is not None and item.more_masks:
            try:
                merged: Path | None = merged_mask((item.mask, *item.more_masks))
            except ImageError as exc:
                merged = None
                problems.append(Problem(item.mask, "mask", f"{exc}; used for image metrics only"))
            entry = replace(entry, item=replace(item, mask=merged, mask_expected=False))
        result.append(entry)
    return result, problems


def _of_folders(listing: Listing) -> list[Problem]:
    """Folders that are not used, and how the others were understood."""
    unused = [
        Problem(
            listing.root / row.folder,
            "unused",
            f"{_pictures_in(row)} {row.use}",
        )
        for row in listing.folders
        if row.unused
    ]
    return [*unused, *(Problem(listing.root, "folders", text) for text in listing.remarks)]


def _pictures_in(row: FolderUse) -> str:
    if row.images == 1:
        return f"1 picture in {row.folder} is"
    return f"{row.images} pictures in {row.folder} are"


def _from_the_future(root: Path, files: Sequence[Path]) -> list[Problem]:
    if not files:
        return []
    message = (
        f"{len(files)} files have a time in the future, such as {relative_name(root, files[0])}; "
        "--settle cannot know their age, so they are used; check the camera's clock"
    )
    return [Problem(files[0], "clock", message)]


def _read(
    root: Path, files: Sequence[Path], role: str, settle_seconds: float, progress: bool
) -> Reading:
    names = {file: relative_name(root, file) for file in files}
    reader = mask_facts if role == "mask" else image_facts
    return read_all(names, role, reader, settle_seconds=settle_seconds, progress=progress)


def _broken(listing: Listing, read: Reading) -> list[Problem]:
    listed = {image.path for image in listing.images}
    faults = {path: fault for path, fault in read.faults.items() if path in listed}
    return [Problem(path, "broken", str(fault)) for path, fault in faults.items()]


def _unfinished(root: Path, files: Mapping[Path, str]) -> list[Problem]:
    return [
        Problem(path, "unfinished", f"{relative_name(root, path)} is left for next time: {reason}")
        for path, reason in files.items()
    ]


def _with_masks(checked: Sequence[Checked], masks: Reading) -> tuple[list[Checked], list[Problem]]:
    result, problems = [], []
    for entry in checked:
        where = entry.item.mask or entry.item.path
        if reason := _left_out(entry, masks):
            problems.append(Problem(where, "mask", f"{reason}; {entry.item.name} is left out"))
            continue
        masked, complaint = _with_mask(entry, masks.facts, masks.faults)
        result.append(masked)
        if complaint:
            problems.append(Problem(where, "mask", complaint))
    return result, [*problems, *_turned(result)]


def _turned(checked: Sequence[Checked]) -> list[Problem]:
    """Masks of images that EXIF turns: drawn on the turned picture, or on the one as stored?"""
    found = [e for e in checked if e.mask is not None and e.facts.remark == "turned"]
    if not found:
        return []
    message = (
        f"{len(found)} images with a mask are turned by their EXIF mark when they are read, for "
        f"example {found[0].item.name}. Their masks have the right size either way. Check that "
        "they are drawn on the turned pictures, as viewers show them"
    )
    return [Problem(found[0].mask or found[0].item.path, "mask", message)]


def _left_out(entry: Checked, masks: Reading) -> str:
    """Why an image cannot be used: it has no label, or its mask contradicts its label."""
    mask = entry.item.mask
    if mask is None:
        return ""
    if entry.item.mask_decides and mask in masks.faults:
        return f"{masks.faults[mask]}, and nothing else says whether the image is good"
    marks = mask in masks.facts and masks.facts[mask].remark == ""
    if not entry.item.mask_decides and entry.item.defect == GOOD and marks:
        return f"it lies among good images, but its mask {mask.name} marks a defect"
    return ""


def _with_mask(
    entry: Checked, facts: dict[Path, Facts], faults: dict[Path, ImageError]
) -> tuple[Checked, str]:
    """The entry with its mask, or without it and the reason why the mask cannot be used."""
    item, mask = entry.item, entry.item.mask
    if mask is None:
        missing = f"{item.name} has no mask; used for image metrics only"
        return entry, missing if item.mask_expected else ""
    if item.defect == GOOD and not item.mask_decides:
        return entry, ""
    if mask in faults:
        return entry, f"{faults[mask]}; used for image metrics only"
    found = facts[mask]
    if item.mask_decides:
        if found.remark == "empty":
            return entry, ""
        entry = replace(entry, item=replace(item, defect="defect"))
    if found.remark == "empty":
        return entry, f"the mask of {item.name} marks nothing; used for image metrics only"
    if found.size != entry.facts.size:
        height, width = entry.facts.size
        return entry, (
            f"the mask of {item.name} is {found.size[0]}x{found.size[1]} but the image is "
            f"{height}x{width} (height x width); used for image metrics only"
        )
    most = (
        f"the mask of {item.name} marks more than half of the picture; check whether it is inverted"
    )
    return replace(entry, mask=mask, mask_facts=found), most if found.remark == "most" else ""


def _anomalous_to_test(checked: Sequence[Checked]) -> tuple[list[Checked], list[Problem]]:
    result, problems = [], []
    for entry in checked:
        if entry.label and entry.item.split == TRAIN:
            message = f"{entry.item.name} is anomalous ({entry.item.defect}); used for testing only"
            if entry.item.split_given:
                problems.append(Problem(entry.item.path, "moved", message))
            entry = replace(entry, item=replace(entry.item, split=TEST))
        result.append(entry)
    return result, problems


def _without_duplicates(checked: Sequence[Checked]) -> tuple[list[Checked], list[Problem]]:
    """One file of each content per split and label; the same content elsewhere is only reported."""
    by_content: dict[str, list[Checked]] = defaultdict(list)
    problems = []
    kept = []
    for entry in sorted(checked, key=lambda entry: (entry.item.split, entry.item.name)):
        twins = by_content[entry.facts.sha256]
        twin = next((t for t in twins if _use(t) == _use(entry)), None)
        if twin is not None:
            message = f"{entry.item.name} is the same file as {twin.item.name}; used once"
            problems.append(Problem(entry.item.path, "duplicate", message, twin.item.path))
            continue
        if twins:
            problems.append(_leak(entry, twins[0]))
        twins.append(entry)
        kept.append(entry)
    return kept, problems


def _use(entry: Checked) -> tuple[str, int]:
    return entry.item.split, entry.label


def _leak(entry: Checked, twin: Checked) -> Problem:
    names = f"{entry.item.name} is the same file as {twin.item.name}"
    if entry.label != twin.label:
        message = f"{names}, but one is labelled normal and one anomalous; both kept, correct one"
        return Problem(entry.item.path, "conflict", message, twin.item.path)
    message = (
        f"{names}, and one is for training and one for testing, so the measured figures "
        "look better than they are; both kept"
    )
    return Problem(entry.item.path, "leak", message, twin.item.path)


def _remarks(checked: Sequence[Checked]) -> list[Problem]:
    texts = {
        "blank": "{} is all of one colour; kept; check whether the camera was covered",
        "flat": (
            "{} has only a few flat colours, as masks have; kept; check whether it is a picture"
        ),
        "frames": "{} holds several pictures; only the first is used; save each as its own file",
        "dark": "{} uses at most 12 of its 16 bits and is nearly black; scale it up when exporting",
    }
    return [
        Problem(
            entry.item.path, entry.facts.remark, texts[entry.facts.remark].format(entry.item.name)
        )
        for entry in checked
        if entry.facts.remark in texts
    ]


def _missing(listing: Listing) -> list[Problem]:
    return [Problem(path, "missing", f"{path} is listed but not there") for path in listing.missing]


def _refuse_without_normals(
    listing: Listing, checked: Sequence[Checked], broken: Sequence[Problem]
) -> None:
    if any(entry.item.split == TRAIN and not entry.label for entry in checked):
        return
    hint = f" ({len(broken)} could not be read: {broken[0].message})" if broken else ""
    defects = sorted({entry.item.defect for entry in checked if entry.label})
    found = f", only {natural(defects)}" if defects else ""
    uses = f". Its folders are taken for: {uses_in_words(listing.folders)}"
    raise DataError(
        f"{listing.root} has no normal image to train on{found}{hint}; put images of good parts "
        f"into train/good, or name a folder of good images{uses if listing.folders else ''}"
    )
