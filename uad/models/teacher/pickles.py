"""Read the arrays in Paddle's and PyTorch's pickles without running any code in them.

A pickle names functions to call. Here every name stands for one of a few harmless classes of this
module, which only collect shapes and bytes; any other name is refused before anything is called.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBERS = {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)} - {"f1"} | {"b1"}
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "BoolStorage": "|b1",
}
_LARGEST_MEMBER_BYTES = 2**30


def read_pdparams(file: Path) -> dict[str, NDArray[np.generic]]:
    """The named arrays of a Paddle state dict.

    Raises:
        pickle.UnpicklingError: the file names something else than arrays of numbers.
    """
    with file.open("rb") as stream:
        state = _PaddleUnpickler(stream).load()
    return _named_arrays(state)


def read_pth(file: Path) -> dict[str, NDArray[np.generic]]:
    """The named arrays of a PyTorch state dict in its zip format (PyTorch 1.6 and later).

    Raises:
        zipfile.BadZipFile: an older format, or no PyTorch file.
        pickle.UnpicklingError: the file names something else than arrays of numbers.
    """
    with zipfile.ZipFile(file) as archive:
        member = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
        if member is None:
            raise pickle.UnpicklingError("the archive has no data.pkl")
        folder = member[: -len("data.pkl")]
        state = _TorchUnpickler(archive, folder, _member(archive, member)).load()
    return _named_arrays(state)


class _Number:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in _NUMBERS:
            raise pickle.UnpicklingError(f"array of {code!r}, which is not a number")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"byte order {state[1]!r}")
        self.order = state[1]


class _Array:
    """Stands for `numpy.core.multiarray._reconstruct`; holds the array once its state came."""

    def __init__(self, *_: object) -> None:
        self.value: NDArray[np.generic] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, number, fortran, content = state
        if not isinstance(number, _Number) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("array whose content is not plain numbers")
        flat = np.frombuffer(content, np.dtype(number.order + number.code))
        self.value = flat.reshape(shape, order="F" if fortran else "C")


class _NDArray:
    """Stands for `numpy.ndarray`, which Paddle's pickles name but never call."""


def _encode(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`, how protocol 2 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes written as {encoding!r}")
    return text.encode("latin1")


_PADDLE_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _NDArray,
    ("numpy", "dtype"): _Number,
    ("_codecs", "encode"): _encode,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
    ("collections", "OrderedDict"): OrderedDict,
}


class _PaddleUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        return _allowed(_PADDLE_NAMES, module, name)


class _TorchUnpickler(pickle.Unpickler):
    """Storages are members of the zip file, named by the pickle's persistent ids."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if module == "torch" and name in _STORAGES:
            return _storage_kind(name)
        return _allowed(_TORCH_NAMES, module, name)

    def persistent_load(self, pid: Any) -> NDArray[np.generic]:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _storage_kind):
            raise pickle.UnpicklingError(f"persistent id {kind!r}")
        content = _member(self._archive, f"{self._folder}data/{key}")
        return np.frombuffer(content, np.dtype(_STORAGES[storage.name]), count)


class _storage_kind:  # noqa: N801  stands for a class, so that the unpickler may hold it
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> None:
        raise pickle.UnpicklingError(f"it would create {self.name}, which is not allowed")


def _tensor(
    storage: NDArray[np.generic],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: object,
) -> NDArray[np.generic]:
    """Stands for `torch._utils._rebuild_tensor_v2`; contiguous tensors only."""
    if math.prod(shape) > 1 and strides != _contiguous(shape):
        raise pickle.UnpicklingError("tensor that is not contiguous")
    return storage[offset : offset + math.prod(shape)].reshape(shape)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _parameter(data: NDArray[np.generic], *_: object) -> NDArray[np.generic]:
    return data


_TORCH_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("collections", "OrderedDict"): OrderedDict,
}


def _allowed(
    names: dict[tuple[str, str], Callable[..., Any]], module: str, name: str
) -> Callable[..., Any]:
    try:
        return names[module, name]
    except KeyError:
        message = f"it asks for {module}.{name}, which was not run"
        raise pickle.UnpicklingError(message) from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        size = archive.getinfo(name).file_size
    except KeyError:
        raise pickle.UnpicklingError(f"the archive has no {name}") from None
    if size > _LARGEST_MEMBER_BYTES:
        raise pickle.UnpicklingError(f"{name} would have {size} bytes, which is too large")
    return archive.read(name)


def _named_arrays(state: Any) -> dict[str, NDArray[np.generic]]:
    if not isinstance(state, dict):
        raise pickle.UnpicklingError("it has no dictionary of arrays")
    arrays = {name: _array(value) for name, value in state.items() if isinstance(name, str)}
    return {name: value for name, value in arrays.items() if value is not None}


def _array(value: Any) -> NDArray[np.generic] | None:
    if isinstance(value, tuple) and len(value) == 2:  # Paddle's (name, array)
        value = value[1]
    if isinstance(value, _Array):
        return value.value
    return value if isinstance(value, np.ndarray) else None
