"""A distilled student as the small file that the package ships."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.models.teacher.distillation.network import EPSILON, Tensors, convolutions, norm_of


def folded_half(weights: Tensors) -> dict[str, NDArray[np.float16]]:
    """Batch norm folded into its convolution, half precision, torchvision's names.

    Each batch norm keeps its bias and is neutral otherwise (weight 1, mean 0, variance 1); the
    kernel makes up for the epsilon that it still adds.
    """
    arrays: dict[str, NDArray[np.float16]] = {}
    plain: dict[str, Any] = {k: v.detach().float().numpy() for k, v in weights.items()}
    for name in convolutions(plain["conv1.weight"].shape[0]):
        norm = norm_of(name)
        scale = plain[f"{norm}.weight"] / np.sqrt(plain[f"{norm}.running_var"] + EPSILON)
        kernel = plain[f"{name}.weight"] * scale[:, None, None, None] * np.sqrt(1.0 + EPSILON)
        bias = plain[f"{norm}.bias"] - plain[f"{norm}.running_mean"] * scale
        arrays[f"{name}.weight"] = np.ascontiguousarray(kernel, np.float16)
        arrays[f"{norm}.bias"] = np.ascontiguousarray(bias, np.float16)
        arrays[f"{norm}.running_mean"] = np.zeros_like(arrays[f"{norm}.bias"])
        for neutral in ("weight", "running_var"):
            arrays[f"{norm}.{neutral}"] = np.ones_like(arrays[f"{norm}.bias"])
    return arrays


def pack(weights: Tensors, file: Path, notes: dict[str, str]) -> None:
    """Write the folded half-precision weights to `file` with `notes` as its metadata."""
    from safetensors.numpy import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(folded_half(weights)), file, metadata={"format": "uad-teacher-1", **notes})
    file.chmod(0o644)  # safetensors writes for its user alone; a package is for all
