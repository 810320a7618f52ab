"""Named arrays out of a weight file, whatever program wrote it; nothing in the file is run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.errors import TeacherError
from uad.models.teacher.pickles import read_pdparams, read_pth

Arrays = dict[str, NDArray[np.generic]]


def read_weights(file: Path) -> Arrays:
    """All named arrays of `file`, under the names it gives them.

    Args:
        file: `.safetensors`, `.npz`, Paddle's `.pdparams` or PyTorch's `.pth`, `.pt`.

    Raises:
        TeacherError: no such file, an unknown suffix, damaged, or asking for more than arrays.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise TeacherError(f"{file}: weights come as {known}, not '{file.suffix}'")
    if not file.is_file():
        raise TeacherError(f"{file} does not exist. Check the path.")
    try:
        return reader(file)
    except Exception as exc:  # a damaged or hostile file can raise anything; all mean the same
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise TeacherError(f"{file} was refused: {reason}. Get the file again.") from exc


def torchvision_names(arrays: Arrays) -> Arrays:
    """The same arrays with Paddle's batch norm names turned into torchvision's."""
    return {
        name.replace("._mean", ".running_mean").replace("._variance", ".running_var"): value
        for name, value in arrays.items()
    }


def _npz(file: Path) -> Arrays:
    with np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _safetensors(file: Path) -> Arrays:
    from safetensors.numpy import load

    return dict(load(file.read_bytes()))  # a copy: the file may be replaced while it is in use


_READERS: dict[str, Callable[[Path], Arrays]] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".pdparams": read_pdparams,
    ".pth": read_pth,
    ".pt": read_pth,
}
