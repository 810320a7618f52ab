"""From a teacher's name or file to checked, hashed weights."""

import hashlib
import os
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from uad.errors import TeacherError
from uad.models.parts import Teacher
from uad.models.resnet import Weights, check, random_weights
from uad.models.teacher.download import IMAGENET, Source, download_bar, fetch, hash_of, verify
from uad.models.teacher.reading import Arrays, read_weights, torchvision_names

EMBEDDED = "teacher_embedded.safetensors"
EMBEDDED_SHA256 = "a5dcd9b4070a2916a94453bef185138c2611ff58770e4f44d36cf750d984b7bb"
"""Of the file in uad/weights."""


@dataclass(frozen=True)
class Known:
    """A teacher as `uad teacher list` shows it."""

    id: str
    file: Path
    state: str
    """`ready`, `not fetched`, or what is wrong."""
    sha256: str | None
    """Of the weights, as it stands in bundles; None unless ready."""


def load_teacher(spec: str, *, width: int = 64, seed: int = 0, progress: bool = True) -> Teacher:
    """The frozen teacher that `spec` names; it is never replaced by another one.

    Args:
        spec: `embedded`, `imagenet`, `random`, or the path of a weight file.
        width: channels of the first level; every real teacher has 64.
        seed: of the random teacher.
        progress: show a bar on standard error while something is downloaded.

    Raises:
        TeacherError: an unknown name; a file that is missing, altered or no ResNet-18.
    """
    if spec == "random":
        return teacher_from("random", random_weights(width, seed))
    if spec == "embedded":
        return _checked("embedded", _whole_embedded(), width)
    if spec == "imagenet":
        return _checked("imagenet", imagenet_file(progress=progress), width)
    file = Path(spec).expanduser()
    if not file.is_file():
        raise TeacherError(
            f"'{spec}' is not a teacher: write embedded, imagenet, or the path of a weight file."
        )
    return _checked(f"file:{file.name}", file, width)


def teacher_from(name: str, weights: Weights) -> Teacher:
    """A teacher of these weights, with the sha256 over their names and float32 values."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode() + b"\0" + np.ascontiguousarray(weights[key]).tobytes())
    return Teacher(name, digest.hexdigest(), weights)


def known_teachers() -> list[Known]:
    """The teachers on this machine: the embedded one and the cached imagenet one."""
    return [_known("embedded", embedded_file(), None), _known("imagenet", *_imagenet_here())]


def embedded_file() -> Path:
    """Where the package keeps its own teacher."""
    return Path(str(files("uad") / "weights" / EMBEDDED))


def imagenet_file(*, progress: bool = True) -> Path:
    """The cached official file, downloaded first if need be.

    Raises:
        TeacherError: it cannot be had, or is not the official file.
    """
    file, source = _imagenet_here()
    with download_bar(source.name, visible=progress) as on_bytes:
        return fetch(source, file.parent, on_bytes=on_bytes)


def imagenet_source() -> Source:
    """The official file, from the mirror UAD_TEACHER_URL and pinned by UAD_TEACHER_SHA256."""
    return replace(
        IMAGENET,
        url=os.environ.get("UAD_TEACHER_URL") or IMAGENET.url,
        sha256=(os.environ.get("UAD_TEACHER_SHA256") or "").lower() or IMAGENET.sha256,
    )


def teacher_cache() -> Path:
    """UAD_CACHE, else `uad` in the user's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    chosen = os.environ.get("UAD_CACHE")
    if chosen:
        return Path(chosen).expanduser() / "teacher"
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(user).expanduser() / "uad" / "teacher"


def _imagenet_here() -> tuple[Path, Source]:
    source = imagenet_source()
    return teacher_cache() / source.name, source


def _whole_embedded() -> Path:
    file = embedded_file()
    problem = embedded_problem(file)
    if problem:
        raise TeacherError(f"{file} {problem}. Install uad again.")
    return file


def embedded_problem(file: Path) -> str | None:
    """What is wrong with a copy of the embedded teacher's file, or None."""
    if not file.is_file():
        return "is missing"
    if hash_of(file, "sha256") != EMBEDDED_SHA256:
        return "was altered (its sha256 is not the one that this version of uad expects)"
    return None


def _checked(name: str, file: Path, width: int) -> Teacher:
    arrays: Arrays = torchvision_names(read_weights(file))
    return teacher_from(name, check(arrays, width, origin=str(file)))


def _known(name: str, file: Path, source: Source | None) -> Known:
    if source is None:
        problem = embedded_problem(file)
    else:
        problem = verify(source, file) if file.is_file() else "not fetched"
    if problem:
        return Known(name, file, problem, None)
    return Known(name, file, "ready", _checked(name, file, 64).sha256)
