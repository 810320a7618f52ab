"""STFPM: a student learns a frozen teacher's features on normal images.

Where the two disagree, the image is unusual. Wang et al., "Student-Teacher Feature Pyramid Matching
for Anomaly Detection", BMVC 2021, arXiv 2103.04257.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.models.backbone import Tensor
from uad.models.paddle_runtime import paddle

EPSILON = 1e-12


class _Distance(paddle.autograd.PyLayer):  # type: ignore[misc]
    """1 - cos(teacher, student) along the channels, with its gradient in closed form.

    Composed of Paddle's own operations it takes as long as the convolutions.
    """

    @staticmethod
    def forward(ctx: Any, teacher: Tensor, student: Tensor) -> Tensor:
        inverse = paddle.rsqrt((student * student).sum(axis=1, keepdim=True) + EPSILON)
        cosine = (teacher * student).sum(axis=1, keepdim=True) * inverse
        ctx.save_for_backward(teacher, student, inverse, cosine)
        return 1.0 - cosine.squeeze(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        teacher, student, inverse, cosine = ctx.saved_tensor()
        scale = gradient.unsqueeze(1) * inverse
        own, other = _along_channels((scale * cosine * inverse, scale), student.shape[1])
        return None, student * own - teacher * other


def _along_channels(maps: Sequence[Tensor], channels: int) -> list[Tensor]:
    """Each (N, 1, H, W) repeated to (N, C, H, W): Paddle's broadcasting is 3 times slower."""
    return [paddle.tile(one, [1, channels, 1, 1]) for one in maps]


def unit(features: Tensor) -> Tensor:
    """(N, C, H, W) scaled to length 1 along the channels."""
    return features * paddle.rsqrt((features * features).sum(axis=1, keepdim=True) + EPSILON)


def distance_maps(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> list[Tensor]:
    """Per level the (N, H, W) distances 1 - cos, in [0, 2].

    Eq. 1: half the squared distance of two unit vectors is one minus their cosine. `teacher`
    features are unit vectors already, `student` features need not be.
    """
    return [_Distance.apply(t, s) for t, s in zip(teacher, student, strict=True)]


def mahalanobis(teacher: Tensor, student: Tensor, whitening: Tensor) -> Tensor:
    """(N, H, W) distances of one level in [0, 2], see `uad.models.whitening`.

    Args:
        teacher: (N, C, H, W) unit vectors.
        student: (N, C, H, W), of any length.
        whitening: (C, C).
    """
    kernel = whitening.unsqueeze(-1).unsqueeze(-1)
    whitened = paddle.nn.functional.conv2d(teacher - unit(student), kernel)
    return (whitened * whitened).sum(axis=1) * 0.5


def differences(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Per level the (C, N * H * W) differences of unit vectors; arguments as `distance_maps`'."""
    return [
        (t - unit(s)).transpose([1, 0, 2, 3]).flatten(1).numpy()
        for t, s in zip(teacher, student, strict=True)
    ]


def loss(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """Mean distance over images and locations, summed over the levels: eqs. 2 and 3."""
    return sum(level.mean() for level in distance_maps(teacher, student))
