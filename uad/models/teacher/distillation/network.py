"""ResNet-18 conv1..layer3 in PyTorch as plain functions over a dict of tensors.

Names are torchvision's, so that teacher, student and the packed file share them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from uad.config.training import InputSpec

Tensors = dict[str, Any]
"""Name to torch tensor."""

LEVELS = (1, 2, 3)
EPSILON = 1e-5
_RUNNING = ("running_mean", "running_var")


def convolutions(width: int = 64) -> dict[str, tuple[int, ...]]:
    """Every convolution's name and shape (out, in, k, k), in order of use."""
    shapes: dict[str, tuple[int, ...]] = {"conv1": (width, 3, 7, 7)}
    inputs = width
    for level in LEVELS:
        outputs = width * 2 ** (level - 1)
        for block in (0, 1):
            name = f"layer{level}.{block}"
            shapes[f"{name}.conv1"] = (outputs, inputs, 3, 3)
            shapes[f"{name}.conv2"] = (outputs, outputs, 3, 3)
            if inputs != outputs:
                shapes[f"{name}.downsample.0"] = (outputs, inputs, 1, 1)
            inputs = outputs
    return shapes


def norm_of(convolution: str) -> str:
    """The batch norm that follows a convolution: `conv2` -> `bn2`, `downsample.0` -> `.1`."""
    if convolution.endswith("downsample.0"):
        return convolution[:-1] + "1"
    head, _, last = convolution.rpartition("conv")
    return f"{head}bn{last}"


def initial_weights(seed: int, width: int = 64) -> Tensors:
    """He-normal convolutions (fan out) and neutral batch norms, as torchvision starts a ResNet.

    Nothing of the teacher is copied: all that the student knows it learned from features.
    """
    generator = torch.Generator().manual_seed(seed)
    weights: Tensors = {}
    for name, shape in convolutions(width).items():
        deviation = (2.0 / (shape[0] * shape[2] * shape[3])) ** 0.5
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * deviation
        norm, channels = norm_of(name), shape[0]
        weights[f"{norm}.weight"] = torch.ones(channels)
        weights[f"{norm}.bias"] = torch.zeros(channels)
        weights[f"{norm}.running_mean"] = torch.zeros(channels)
        weights[f"{norm}.running_var"] = torch.ones(channels)
    return weights


def is_trained(name: str) -> bool:
    """Whether the optimiser moves this tensor (running statistics move by themselves)."""
    return not name.endswith(_RUNNING)


def folded(weights: Mapping[str, NDArray[np.float32]]) -> Tensors:
    """A frozen copy with each batch norm inside its convolution, for a faster teacher."""
    result: Tensors = {}
    for name in convolutions(weights["conv1.weight"].shape[0]):
        norm = norm_of(name)
        scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        kernel = weights[f"{name}.weight"] * scale[:, None, None, None]
        result[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel, np.float32))
        result[f"{name}.bias"] = torch.from_numpy(np.ascontiguousarray(bias, np.float32))
    return result


def pyramid(
    weights: Tensors,
    images: Any,
    *,
    training: bool,
    momentum: float = 0.1,
    below: list[Any] | None = None,
) -> list[Any]:
    """The three levels' features after their last ReLU.

    Args:
        weights: from `initial_weights`, or from `folded` (then without batch norm).
        images: (N, 3, H, W) float32, normalised as the teacher expects.
        training: batch norm by the batch's statistics, moving the running ones in place.
        momentum: of the running statistics.
        below: another network's features; then level l + 1 continues from its level l, so that
            each level learns alone, from right inputs.

    Returns:
        (N, C_l, H / 2^(l+1), W / 2^(l+1)) for l = 1, 2, 3.
    """

    def convolve(x: Any, name: str, stride: int = 1) -> Any:
        kernel = weights[f"{name}.weight"]
        x = F.conv2d(x, kernel, weights.get(f"{name}.bias"), stride, kernel.shape[2] // 2)
        norm = norm_of(name)
        if f"{norm}.weight" not in weights:
            return x
        mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        scale, shift = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
        return F.batch_norm(x, mean, variance, scale, shift, training, momentum, EPSILON)

    x = F.max_pool2d(F.relu(convolve(images, "conv1", 2)), 3, 2, 1)
    features = []
    for level in LEVELS:
        for block in (0, 1):
            name, stride = f"layer{level}.{block}", 2 if level > 1 and block == 0 else 1
            y = F.relu(convolve(x, f"{name}.conv1", stride))
            y = convolve(y, f"{name}.conv2")
            if f"{name}.downsample.0.weight" in weights:
                x = convolve(x, f"{name}.downsample.0", stride)
            x = F.relu(x + y)
        features.append(x)
        x = below[level - 1] if below is not None else x
    return features


def normalised(batch: NDArray[np.uint8], device: str = "cpu") -> Any:
    """(N, S, S, 3) uint8 RGB to (N, 3, S, S) float32 as the teacher expects, channels last."""
    spec = InputSpec()
    values = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float() / 255.0
    mean, deviation = (
        torch.tensor(value, device=device).view(1, 3, 1, 1) for value in (spec.mean, spec.std)
    )
    return ((values - mean) / deviation).contiguous(memory_format=torch.channels_last)


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
