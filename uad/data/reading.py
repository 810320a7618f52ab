"""Read files side by side: each is hashed and decoded once, and not at all if it is known."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from uad.data.file_index import THUMBNAIL_PX, Facts, Index, Stamp, stamp_of
from uad.data.listing import ListedImage
from uad.data.samples import GOOD, Sample, readable
from uad.errors import ImageError
from uad.images import (
    decode,
    decode_mask,
    fits_either_way,
    frames,
    header,
    is_flat,
    read_bytes,
    resize,
)
from uad.storage.atomic_writes import write_file
from uad.storage.paths import cache_dir

T = TypeVar("T")
Reader = Callable[[Path, str], Facts]
_SLOW_FILES = 20
"""From this many files on, a person wants to see progress."""
_CLOCKS_DIFFER_SECONDS = 2.0
"""A file this far in the future was still written just now."""
_YOUNG_SECONDS = 30.0
"""A damaged file that was written this recently may still be coming."""


@dataclass(frozen=True)
class Checked:
    """One usable image of a listing, after its file was read."""

    item: ListedImage
    facts: Facts
    mask: Path | None = None
    """Fits the image and marks something."""
    mask_facts: Facts | None = None

    @property
    def label(self) -> int:
        """0 normal, 1 anomalous."""
        return int(self.item.defect != GOOD)

    @property
    def sample(self) -> Sample:
        """The image where it lies."""
        item, facts = self.item, self.facts
        return Sample(
            path=item.path,
            label=self.label,
            defect=item.defect,
            mask=self.mask,
            sha256=facts.sha256,
            size=facts.size,
            name=item.name,
        )


@dataclass
class Reading:
    """The result for each file, by path."""

    facts: dict[Path, Facts] = field(default_factory=dict)
    faults: dict[Path, ImageError] = field(default_factory=dict)
    """Files that cannot be used."""
    unfinished: dict[Path, str] = field(default_factory=dict)
    """Files that are still being written, and the reason for thinking so."""
    from_the_future: list[Path] = field(default_factory=list)
    """Files with a time in the future, so their age is not known; they are used."""
    files_read: int = 0
    """The others were known from before, or not looked into."""


def image_facts(path: Path, name: str) -> Facts:
    """Read and decode an image.

    Remark `blank` (one colour), `dark` (at most 12 of 16 bits), `flat` (few colours, as a mask),
    `frames` (several pictures in one file) or `turned` (by EXIF, and a mask fits either way).
    """
    data = read_bytes(path)
    head = header(data, name=name)
    image = decode(data, name=name)
    remark = "blank" if image.min() == image.max() else ""
    if head.bits == 16 and image.max() < 16:
        remark = "dark"
    elif not remark and is_flat(image):
        remark = "flat"
    elif not remark and frames(data, name=name) > 1:
        remark = "frames"
    elif not remark and fits_either_way(data, name=name):
        remark = "turned"
    small = cv2.cvtColor(resize(image, (THUMBNAIL_PX, THUMBNAIL_PX)), cv2.COLOR_BGR2GRAY)
    return Facts(
        sha256=hashlib.sha256(data).hexdigest(),
        size=(image.shape[0], image.shape[1]),
        bytes=len(data),
        format=head.format,
        remark=remark,
        brightness=float(small.mean()),
        thumbnail=small.tobytes(),
    )


def mask_facts(path: Path, name: str) -> Facts:
    """Read and decode a mask; remark `empty` (marks nothing) or `most` (more than half)."""
    data = read_bytes(path)
    head = header(data, name=name)
    mask = decode_mask(data, name=name)
    sha = hashlib.sha256(data).hexdigest()
    size = (mask.shape[0], mask.shape[1])
    remark = "most" if mask.mean() > 0.5 else "" if mask.any() else "empty"
    return Facts(sha, size, len(data), head.format, remark)


def merged_mask(masks: Sequence[Path]) -> Path:
    """One mask that marks what any of these marks, as a file in the cache.

    Raises:
        ImageError: one cannot be decoded, or they differ in size.
    """
    read = [decode_mask(read_bytes(path), name=str(path)) for path in masks]
    if len({mask.shape for mask in read}) > 1:
        raise ImageError(f"{masks[0]} and the other masks of its image differ in size")
    marked = np.any(np.stack(read), axis=0)
    data = cv2.imencode(".png", marked.astype(np.uint8) * 255)[1].tobytes()
    file = merged_masks_dir() / f"{hashlib.sha256(data).hexdigest()}.png"
    write_file(file, data)  # also where it is there: what was used just now is not swept
    return file


def merged_masks_dir() -> Path:
    """Where masks lie that were put together of several."""
    return cache_dir() / "masks"


def read_all(
    names: Mapping[Path, str],
    role: str,
    reader: Reader,
    *,
    settle_seconds: float = 0.0,
    progress: bool = False,
) -> Reading:
    """Look at the files of `names`.

    A file is unfinished, not broken, if it changed while it was read, is younger than
    `settle_seconds`, or cannot be decoded and was written in the last half minute.

    Args:
        names: what messages call each file.
        role: `image` or `mask`; an image that is also a mask is two things.
        reader: `image_facts` or `mask_facts`.
        settle_seconds: leave files alone that were modified less than this ago.
        progress: show a bar while many files are read.
    """
    found = Reading()
    stamps = _stamps(names, found)
    for path, stamp in stamps.items():
        if not settle_seconds or _age_seconds(stamp) >= settle_seconds:
            continue
        if _age_seconds(stamp) < -_CLOCKS_DIFFER_SECONDS:
            found.from_the_future.append(path)
        else:
            found.unfinished[path] = f"it was written less than {settle_seconds:g} s ago"
    index = Index()
    keys = {path: path.absolute() for path in stamps if path not in found.unfinished}
    known = index.known({key: stamps[path] for path, key in keys.items()}, role)
    found.facts = {path: known[key] for path, key in keys.items() if key in known}
    todo = {path: names[path] for path in keys if path not in found.facts}
    found.files_read = len(todo)
    for path, result in _in_threads(reader, todo, f"Checking {role}s", progress):
        _take(found, path, stamps[path], result)
    fresh = (path for path in todo if path in found.facts)
    index.remember(((keys[p], stamps[p], found.facts[p]) for p in fresh), role)
    return found


def _stamps(names: Mapping[Path, str], found: Reading) -> dict[Path, Stamp]:
    stamps: dict[Path, Stamp] = {}
    for path in names:
        try:
            str(path).encode()
            stamps[path] = stamp_of(path)
        except UnicodeEncodeError:
            message = f"the name of {readable(names[path])} is not UTF-8; rename it"
            found.faults[path] = ImageError(message)
        except OSError as exc:
            found.faults[path] = ImageError(f"cannot read {path}: {exc.strerror or exc}")
    return stamps


def _take(found: Reading, path: Path, before: Stamp, result: Facts | ImageError) -> None:
    """Sort the result of a reading into facts, faults or unfinished."""
    if not _is_still(path, before):
        found.unfinished[path] = "it changed while it was read"
    elif isinstance(result, Facts):
        found.facts[path] = result
    elif abs(age := _age_seconds(before)) < _YOUNG_SECONDS:
        found.unfinished[path] = f"it cannot be read, and it was written only {abs(age):.0f} s ago"
    else:
        found.faults[path] = result


def _is_still(path: Path, before: Stamp) -> bool:
    try:
        return stamp_of(path) == before
    except OSError:
        return False


def _age_seconds(stamp: Stamp) -> float:
    return time.time() - stamp.mtime_ns / 1e9


def _in_threads(
    reader: Reader, names: Mapping[Path, str], title: str, progress: bool
) -> Iterable[tuple[Path, Facts | ImageError]]:
    """Read files side by side (decoding releases the interpreter), in the order of `names`."""

    def outcome(path: Path) -> Facts | ImageError:
        try:
            return reader(path, names[path])
        except ImageError as exc:
            return exc

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from shown(
            zip(names, pool.map(outcome, names), strict=True), len(names), title, progress
        )


def shown(items: Iterable[T], total: int, title: str, progress: bool) -> Iterable[T]:
    """Pass `items` through, with a progress bar when there are many and a person is looking."""
    from uad.console import console, progress_bar

    if not progress or total < _SLOW_FILES or not console().is_terminal:
        yield from items
        return
    with progress_bar("images") as bar:
        task = bar.add_task(title, total=total, note="")
        yield from bar.track(items, total=total, task_id=task)
