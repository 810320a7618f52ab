"""Find the image files of a folder: one way for `uad ingest`, `uad predict` and `uad client`.

Sub-folders count at any depth, linked ones too. Hidden files and folders are ignored, and so are
a state folder (UAD_HOME) inside, and anything that is not an ordinary file, such as a named pipe.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from uad.errors import DataError
from uad.images.decoding import SUFFIXES
from uad.storage.paths import state_folder

UNREADABLE_SUFFIXES = frozenset(
    {".heic", ".heif", ".jpx", ".jpf", ".jxl", ".jxr", ".svg", ".psd", ".exr", ".hdr", ".pfm"}
    | {".dcm", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".tga"}
    | {".pcx", ".ico", ".eps", ".pdf", ".xcf", ".npy", ".npz", ".mat"}
    | {".mp4", ".avi", ".mov", ".mkv", ".wmv"}
)
"""Pictures and films of formats that are not read; a folder that holds some says so."""


OF_PREDICT = re.compile(r"(.+?)(?:-\d+)?_res")
"""Names of the pictures that `uad predict` writes, without suffix: 1 is that of the image."""


@dataclass(frozen=True)
class FolderFiles:
    """The visible files of a folder at any depth, in the order of names."""

    images: tuple[Path, ...]
    """Files with an image suffix."""
    unreadable: tuple[Path, ...]
    """Pictures in other formats, and special files with an image suffix."""
    others: tuple[Path, ...]


def list_files(folder: Path) -> FolderFiles:
    """All visible files of `folder`.

    Raises:
        DataError: the folder, or one inside, cannot be read.
    """
    images: list[Path] = []
    unreadable: list[Path] = []
    others: list[Path] = []
    try:
        for file in sorted(_files(folder)):
            suffix = file.suffix.lower()
            if suffix in SUFFIXES:
                (images if _is_ordinary(file) else unreadable).append(file)
            else:
                (unreadable if suffix in UNREADABLE_SUFFIXES else others).append(file)
    except OSError as exc:
        where = exc.filename or folder
        raise DataError(f"cannot read {where}: {exc.strerror}; check its permissions") from exc
    return FolderFiles(tuple(images), tuple(unreadable), tuple(others))


def image_files(folder: Path) -> list[Path]:
    """The image files of `folder`; see `list_files`."""
    return list(list_files(folder).images)


def without_results(files: FolderFiles) -> FolderFiles:
    """Without the pictures that `uad predict` or `uad client` wrote of others in the folder.

    Such a picture has its verdict beside it: `000_res.png` and `000_res.json`, of `000.png`.
    """
    verdicts = {file.with_suffix("") for file in files.others if file.suffix == ".json"}
    stems = {file.stem for file in files.images}
    kept = tuple(
        file
        for file in files.images
        if not (
            file.with_suffix("") in verdicts
            and (match := OF_PREDICT.fullmatch(file.stem))
            and match[1] in stems
        )
    )
    return replace(files, images=kept)


def no_images(folder: Path, files: FolderFiles) -> str:
    """The error for a user who expected images in `folder`."""
    suffixes = sorted({f.suffix.lower() or "no suffix" for f in files.unreadable + files.others})
    found = f"only files with {', '.join(suffixes[:5])}" if suffixes else "it is empty"
    return f"{folder} has no images ({found}). Put .png, .jpg, .jpeg, .bmp or .tif files there."


def told_unreadable(files: FolderFiles) -> str | None:
    """One sentence about the ignored pictures; None if there are none."""
    if not files.unreadable:
        return None
    counts = Counter(file.suffix.lower() for file in files.unreadable)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return (
        f"{kinds} cannot be read as images and are ignored, for example {files.unreadable[0]}; "
        "export them as PNG"
    )


def _files(folder: Path) -> Iterator[Path]:
    """All visible files at any depth; linked folders are followed, loops are not."""
    seen = {os.path.realpath(state_folder())} - {os.path.realpath(folder)}
    for parent, names, files in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(parent)
        names[:] = [] if real in seen else sorted(n for n in names if not _hidden(n))
        if real not in seen:
            yield from (Path(parent, name) for name in files if not _hidden(name))
        seen.add(real)


def _is_ordinary(file: Path) -> bool:
    """A link that leads nowhere counts: reading it says so."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return True


def _raise(error: OSError) -> None:
    raise error


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
