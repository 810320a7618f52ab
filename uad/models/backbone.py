"""ResNet-18's feature pyramid, conv1 to layer3, in Paddle (He et al., CVPR 2016)."""

from typing import Any, TypeAlias

import numpy as np

from uad.models.paddle_runtime import nn, paddle
from uad.models.resnet import Weights

Tensor: TypeAlias = Any
"""A `paddle.Tensor`, float32; Paddle ships no types that a checker could use."""
_PADDLE_NAMES = {"running_mean": "_mean", "running_var": "_variance"}


class BatchNorm(nn.BatchNorm2D):  # type: ignore[misc]
    """Paddle's, without the warning that it gives at every training step."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return nn.functional.batch_norm(
            x, self._mean, self._variance, self.weight, self.bias, training=self.training
        )


class BasicBlock(nn.Layer):  # type: ignore[misc]
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, channels, 3, stride)
        self.bn1 = BatchNorm(channels)
        self.conv2 = _conv(channels, channels, 3, 1)
        self.bn2 = BatchNorm(channels)
        self.downsample = (
            nn.Sequential(_conv(channels_in, channels, 1, stride), BatchNorm(channels))
            if stride != 1 or channels_in != channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, C, H/stride, W/stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        return nn.functional.relu(self.bn2(self.conv2(x)) + shortcut)


class Pyramid(nn.Layer):  # type: ignore[misc]
    """Three feature levels of a normalised RGB image; `width` channels in the first."""

    def __init__(self, width: int = 64) -> None:
        # Imported outside the main thread, Paddle leaves every other thread in its static mode.
        paddle.disable_static()
        super().__init__()
        self.width = width
        self.conv1 = _conv(3, width, 7, 2)
        self.bn1 = BatchNorm(width)
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.layer2 = _stage(width, 2 * width)
        self.layer3 = _stage(2 * width, 4 * width)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) float32 to [(N, C, H/4, W/4), (N, 2C, H/8, W/8), (N, 4C, H/16, W/16)]."""
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        level1 = self.layer1(x)
        level2 = self.layer2(level1)
        return [level1, level2, self.layer3(level2)]

    def load(self, weights: Weights) -> "Pyramid":
        """Take over `weights` (torchvision's names); every one must be there and fit."""
        state = self.state_dict()
        for name, tensor in state.items():
            tensor.set_value(np.ascontiguousarray(weights[_torchvision_name(name)], np.float32))
        return self

    def weights(self) -> Weights:
        """A copy of the weights under torchvision's names, float32."""
        return {
            _torchvision_name(name): np.array(tensor.numpy(), np.float32)
            for name, tensor in self.state_dict().items()
        }

    def statistics(self) -> list[Tensor]:
        """Batch norm's running means and variances; Paddle has them among the parameters."""
        ends = tuple(_PADDLE_NAMES.values())
        return [tensor for name, tensor in self.state_dict().items() if name.endswith(ends)]

    def frozen(self) -> "Pyramid":
        """In evaluation mode for good: batch norm too uses its stored statistics."""
        self.eval()
        for parameter in self.parameters():
            parameter.stop_gradient = True
        return self


def _stage(channels_in: int, channels: int) -> Any:
    return nn.Sequential(BasicBlock(channels_in, channels, 2), BasicBlock(channels, channels, 1))


def _conv(channels_in: int, channels: int, kernel: int, stride: int) -> Any:
    return nn.Conv2D(channels_in, channels, kernel, stride, kernel // 2, bias_attr=False)


def _torchvision_name(name: str) -> str:
    head, _, last = name.rpartition(".")
    reverse = {paddle_name: ours for ours, paddle_name in _PADDLE_NAMES.items()}
    return f"{head}.{reverse.get(last, last)}"
