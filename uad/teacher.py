"""Where the teacher's weights come from; whatever the source, they are checked and hashed."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.errors import TeacherError
from uad.resnet import check, random_weights
from uad.types import Teacher, Weights

Arrays = dict[str, NDArray[np.generic]]


def load_teacher(spec: str, *, width: int = 64, seed: int = 0) -> Teacher:
    """The frozen teacher that `spec` names.

    Args:
        spec: `random` (seeded, for trying the system only) or the path of a weight file (`.npz` or
            `.safetensors`) with torchvision's or Paddle's names.
        width: channels of the first level; every file holds 64.
        seed: of the random teacher.

    Raises:
        TeacherError: an unknown name, a missing file, or a file that holds no ResNet-18.
    """
    if spec == "random":
        return _teacher("random", random_weights(width, seed))
    file = Path(spec).expanduser()
    if not file.is_file():
        raise TeacherError(f"teacher '{spec}' is neither 'random' nor a file that exists")
    return _teacher(f"file:{file.name}", check(_torchvision(_read(file)), width, origin=str(file)))


def _teacher(name: str, weights: Weights) -> Teacher:
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode() + b"\0" + np.ascontiguousarray(weights[key]).tobytes())
    return Teacher(name, digest.hexdigest(), weights)


def _read(file: Path) -> Arrays:
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        if file.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(file))
    except Exception as exc:
        raise TeacherError(f"{file} cannot be read as weights: copy it again ({exc})") from exc
    raise TeacherError(f"{file}: weights come as .npz or .safetensors, not '{file.suffix}'")


def _torchvision(weights: Arrays) -> Arrays:
    return {
        name.replace("._mean", ".running_mean").replace("._variance", ".running_var"): value
        for name, value in weights.items()
    }
