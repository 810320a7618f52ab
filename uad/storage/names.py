"""Names of products and datasets: one rule for both, and the place on disk that a name has."""

import unicodedata
from pathlib import Path
from typing import NewType
from urllib.parse import quote

from uad.errors import InvalidNameError

ProductName = NewType("ProductName", str)
"""A registered model's name. It also names the dataset that a retraining stores."""
ModelVersionNumber = NewType("ModelVersionNumber", str)
"""A number as text: MLflow answers int or str, depending on the store."""
RunId = NewType("RunId", str)
"""MLflow's id of a run."""
DatasetAddress = NewType("DatasetAddress", str)
"""`cookie@1f2e3d4c5b6a`: a dataset version."""

MAX_CHARACTERS = 100
MAX_BYTES = 200
"""In UTF-8: a file's name has at most 255, and ours add a little."""
_EXTRA = " ._-"


def dataset_address(name: str, version: str) -> DatasetAddress:
    """The address of a dataset version."""
    return DatasetAddress(f"{name}@{version}")


def name_of(address: DatasetAddress) -> str:
    """The dataset's name in an address."""
    return address.rpartition("@")[0]


def check_name(name: str, what: str = "product") -> str:
    """The name in its composed form (NFC), if it can name a product or a dataset.

    Letters and digits of any script, spaces, `.`, `_` and `-`. `what` is told in the error.

    Raises:
        InvalidNameError: with the character that is not allowed, or what else is wrong.
    """
    composed = unicodedata.normalize("NFC", name)
    reason = _wrong(composed)
    if reason is not None:
        raise InvalidNameError(
            f"'{name}' cannot name a {what}: {reason}. Use letters and digits of any script, "
            f"spaces, '.', '_' and '-', at most {MAX_CHARACTERS}, and begin with a letter or digit"
        )
    return composed


def is_name(name: str) -> bool:
    """Whether `check_name` takes it as it is."""
    return _wrong(name) is None


def place_of(folder: Path, name: str, *, prefix: str = "", suffix: str = "") -> Path:
    """Where a product's (or dataset's) file or folder lies in `folder`; need not exist.

    Characters that `check_name` allows stay readable; others, of models that uad did not register,
    are escaped. State that an earlier uad wrote under another spelling is used where it lies.
    """
    place = folder / f"{prefix}{_escaped(name)}{suffix}"
    earlier = (folder / f"{prefix}{spelling}{suffix}" for spelling in _earlier_spellings(name))
    return next((path for path in (place, *earlier) if _exists(path)), place)


def _wrong(name: str) -> str | None:
    if not name:
        return "it is empty"
    bad = next((char for char in name if not _allowed(char)), None)
    if bad is not None:
        return f"{unicodedata.name(bad, repr(bad)).lower()} is not allowed"
    if not name[0].isalnum():
        return "it begins with neither a letter nor a digit"
    if len(name) > MAX_CHARACTERS or len(name.encode()) > MAX_BYTES:
        return "it is too long"
    return None


def _allowed(char: str) -> bool:
    """Letters, digits, and the marks that many scripts put on letters."""
    return char in _EXTRA or unicodedata.category(char)[0] in "LMN"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a file's name can be
        return False


def _escaped(name: str) -> str:
    text = "".join(char if _allowed(char) else quote(char, safe="") for char in name)
    return f"%2E{text[1:]}" if text.startswith(".") else text


def _earlier_spellings(name: str) -> tuple[str, ...]:
    if name in ("", ".", ".."):
        return ()
    plain = () if "/" in name else (name,)
    return (*plain, quote(name, safe=" "), name.encode().hex())
