"""The memory and the whole image's statistics in Paddle, as the ONNX graph computes them."""

from collections.abc import Sequence

import numpy as np

from uad.models.backbone import Tensor
from uad.models.memory import SMOOTHING, Memory
from uad.models.paddle_runtime import nn, paddle
from uad.models.statistics import WholeImage


class MemoryDistance(nn.Layer):  # type: ignore[misc]
    """The teacher's levels to (N, h, w) distances from the nearest of the memory."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        directions = memory.projection.T
        squares = (memory.features**2).sum(axis=1)
        self.register_buffer("directions", paddle.to_tensor(directions[:, :, None, None].copy()))
        self.register_buffer("offset", paddle.to_tensor(-(directions @ memory.mean)))
        self.register_buffer("factor", paddle.to_tensor(-2 * memory.features.T))
        self.register_buffer("squares", paddle.to_tensor(squares))
        kernel = np.outer(SMOOTHING, SMOOTHING).astype(np.float32)[None, None]
        self.register_buffer("smoothing", paddle.to_tensor(kernel))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """See the class."""
        projected = nn.functional.conv2d(patches(levels), self.directions, self.offset)
        rows = projected.transpose([0, 2, 3, 1])  # (N, h, w, C)
        nearest = (paddle.matmul(rows, self.factor) + self.squares).min(axis=-1)
        squares = nn.functional.relu((rows * rows).sum(axis=-1) + nearest).unsqueeze(1)
        padded = nn.functional.pad(squares, [1, 1, 1, 1], mode="replicate")
        return paddle.sqrt(nn.functional.conv2d(padded, self.smoothing)).squeeze(1)


class WholeImageDistance(nn.Layer):  # type: ignore[misc]
    """The teacher's levels to (N,) distances of the whole image."""

    def __init__(self, whole_image: WholeImage) -> None:
        super().__init__()
        self.register_buffer("mean", paddle.to_tensor(whole_image.mean))
        self.register_buffer("whitening", paddle.to_tensor(whole_image.whitening))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """See the class."""
        whitened = paddle.matmul(moments(levels) - self.mean, self.whitening)
        return paddle.sqrt((whitened * whitened).sum(axis=-1))


def patches(levels: Sequence[Tensor]) -> Tensor:
    """(N, D, h, w): levels 2 and 3 side by side, each a 3 x 3 mean, at level 3's locations."""
    second, third = (
        nn.functional.avg_pool2d(level, 3, 1, 1, exclusive=False) for level in levels[1:]
    )
    return paddle.concat([nn.functional.avg_pool2d(second, 2), third], axis=1)


def moments(levels: Sequence[Tensor]) -> Tensor:
    """(N, D'): every level's means over the image, then every level's standard deviations."""
    means = [level.mean(axis=[2, 3], keepdim=True) for level in levels]
    offsets = [level - mean for level, mean in zip(levels, means)]  # noqa: B905  (traced)
    deviations = [paddle.sqrt((each * each).mean(axis=[2, 3], keepdim=True)) for each in offsets]
    return paddle.concat([*means, *deviations], axis=1).flatten(1)
