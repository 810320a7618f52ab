"""Read files side by side: each is hashed and decoded once, and not at all if it is known."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from uad.data.index import Facts, Index, Stamp, stamp_of
from uad.data.samples import readable
from uad.errors import ImageError
from uad.images import decode, decode_mask, header, read_bytes

T = TypeVar("T")
Reader = Callable[[Path, str], Facts]
_SLOW_FILES = 20
"""From this many files on, a person wants to see progress."""


def image_facts(path: Path, name: str) -> Facts:
    """Read and decode an image; remark `blank` (one colour) or `dark` (at most 12 of 16 bits)."""
    data = read_bytes(path)
    head = header(data, name=name)
    image = decode(data, name=name)
    remark = "blank" if image.min() == image.max() else ""
    if head.bits == 16 and image.max() < 16:
        remark = "dark"
    sha = hashlib.sha256(data).hexdigest()
    return Facts(sha, (image.shape[0], image.shape[1]), len(data), head.format, remark)


def mask_facts(path: Path, name: str) -> Facts:
    """Read and decode a mask; remark `empty` when it marks nothing."""
    data = read_bytes(path)
    head = header(data, name=name)
    mask = decode_mask(data, name=name)
    sha = hashlib.sha256(data).hexdigest()
    size = (mask.shape[0], mask.shape[1])
    return Facts(sha, size, len(data), head.format, "" if mask.any() else "empty")


def read_all(
    names: Mapping[Path, str], role: str, reader: Reader, progress: bool
) -> tuple[dict[Path, Facts], dict[Path, ImageError], int]:
    """Facts of the files of `names`, by path.

    Args:
        names: what messages call each file.
        role: `image` or `mask`; an image that is also a mask is two things.
        reader: `image_facts` or `mask_facts`.
        progress: show a bar while many files are read.

    Returns:
        Facts of the readable files, faults of the others, and how many files had to be read.
    """
    index = Index()
    stamps: dict[Path, Stamp] = {}
    faults: dict[Path, ImageError] = {}
    for path in names:
        try:
            str(path).encode()
            stamps[path] = stamp_of(path)
        except UnicodeEncodeError:
            faults[path] = ImageError(
                f"the name of {readable(names[path])} is not UTF-8; rename it"
            )
        except OSError as exc:
            faults[path] = ImageError(f"cannot read {path}: {exc.strerror or exc}")
    keys = {path: path.absolute() for path in stamps}
    known = index.known({keys[path]: stamp for path, stamp in stamps.items()}, role)
    facts = {path: known[key] for path, key in keys.items() if key in known}
    todo = {path: names[path] for path in stamps if path not in facts}
    fresh = {}
    for path, result in _in_threads(reader, todo, f"Checking {role}s", progress):
        if isinstance(result, Facts):
            facts[path] = fresh[path] = result
        else:
            faults[path] = result
    index.remember(((keys[p], stamps[p], found) for p, found in fresh.items()), role)
    return facts, faults, len(todo)


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
    with progress_bar() as bar:
        task = bar.add_task(title, total=total, note="")
        yield from bar.track(items, total=total, task_id=task)
