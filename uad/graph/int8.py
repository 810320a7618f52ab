"""The network in 8-bit integers, in ONNX's QuantizeLinear/DequantizeLinear form.

Activations are uint8 with one scale per tensor, weights int8 with one per channel, biases int32.
ONNX Runtime, OpenVINO and TensorRT fuse this into integer convolutions. The image enters unchanged,
so it is not rounded again. The distances stay in float32.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec
from uad.errors import BundleError
from uad.graph.network import BLOCKS, NETWORKS, assemble
from uad.graph.nodes import INPUT, Array, Graph
from uad.models.parts import Parts

if TYPE_CHECKING:
    import onnx

STEPS = 255
LARGEST_WEIGHT = 127
LARGEST_BIAS = 2**30
EXACT = ("layer3.0.outer", "layer3.0.shortcut", "layer3.1.outer", "layer3.1.out")
"""Sums and features of the last level that stay float32. Rounding them causes most of the change of
the maps in 8 bits, and OpenVINO computes them equally fast in float32."""
PIXEL_SCALE = np.float32(1 / 64)
"""Any power of two except 1: OpenVINO drops a scale of 1, and then computes the first convolution
in float32."""


class Range(NamedTuple):
    """The smallest and the largest value that an activation takes."""

    low: float
    high: float


Ranges = Mapping[str, Range]
"""By activation, as `build_observed` names them."""


def build_int8(parts: Parts, spec: InputSpec, ranges: Ranges) -> "onnx.ModelProto":
    """Build the quantised graph; inputs and outputs as `build`'s. Distances stay in float32.

    Raises:
        BundleError: an array or an activation's range is missing, naming it.
    """
    graph = Int8Graph(spec, without_dead_values(ranges), parts.whitenings)
    assemble(graph, parts)
    return graph.model()


def without_dead_values(ranges: Ranges) -> Ranges:
    """Narrower ranges for the inputs of each block's sum, because a ReLU follows.

    A value so low that the other input cannot lift the sum above zero is always zero after the
    ReLU. Without such values the steps are finer.
    """
    narrowed = dict(ranges)
    for network in NETWORKS:
        entry = f"{network}.conv1"
        for block in (f"{network}.{name}" for name in BLOCKS):
            outer, shortcut = f"{block}.outer", f"{block}.shortcut"
            other = shortcut if shortcut in ranges else entry
            for summand, lifted_by in ((outer, other), (shortcut, outer)):
                if summand in ranges:
                    low, high = ranges[summand]
                    narrowed[summand] = Range(max(low, -ranges[lifted_by].high), high)
            entry = f"{block}.out"
    return narrowed


class Int8Graph(Graph):
    """A graph that rounds every weight and nearly every activation."""

    def __init__(
        self, spec: InputSpec, ranges: Ranges, whitenings: Sequence[Array] | None = None
    ) -> None:
        super().__init__(spec, whitenings)
        self._ranges = ranges
        self._scales: dict[str, np.float32] = {}
        self._integers: dict[str, str] = {}

    def pixels(self) -> str:
        """The image minus one grey value; the padding then has that grey value."""
        value = self.node("Transpose", [INPUT], perm=[0, 3, 1, 2])
        return self._dequantise(value, INPUT, PIXEL_SCALE, self._grey)

    def first_kernel(self, kernel: Array, bias: Array) -> tuple[Array, Array]:
        """Kernel and bias for `pixels`, the difference of mean and grey value in the bias."""
        kernel, bias = super().first_kernel(kernel, bias)
        excess = (self.mean - np.float32(self._grey))[:, None, None]
        bias = bias - (kernel * excess).sum(axis=(1, 2, 3))
        return kernel / PIXEL_SCALE, bias

    @property
    def _grey(self) -> np.uint8:
        return np.uint8(np.clip(np.round(self.mean.mean()), 0, STEPS))

    def parameters(self, value: str, name: str, kernel: Array, bias: Array) -> list[str]:
        """Weight and bias, rounded; see `Graph.parameters`."""
        source = self._scales[self._origin(value)]
        largest = np.abs(kernel).max(axis=(1, 2, 3)) / np.float32(LARGEST_WEIGHT)
        # A channel of tiny weights with a large bias must not overflow the bias' 32 bits.
        scales = np.maximum(largest, np.abs(bias) / (source * LARGEST_BIAS))
        scales = np.where(scales > 0, scales, 1).astype(np.float32)
        weight = np.round(kernel / scales[:, None, None, None]).astype(np.int8)
        offset = np.round(bias / (source * scales)).astype(np.int32)
        return [
            self._stored(f"{name}.weight", weight, scales),
            self._stored(f"{name}.bias", offset, source * scales),
        ]

    def activation(self, name: str, value: str) -> str:
        """`value` rounded to 256 steps of its range, unless it is one of `EXACT`."""
        if name.endswith(EXACT):
            return value
        if name not in self._ranges:
            raise BundleError(f"the quantisation ranges lack {name}: quantise the bundle again")
        low, high = min(self._ranges[name].low, 0.0), max(self._ranges[name].high, 0.0)
        scale = np.float32(max(high - low, 1e-6) / STEPS)
        zero = np.uint8(np.clip(np.round(-low / scale), 0, STEPS))
        scale_name = self.constant(f"{name}.scale", np.asarray(scale))
        zero_name = self.constant(f"{name}.zero", np.asarray(zero))
        rounded = self.node("QuantizeLinear", [value, scale_name, zero_name])
        kept = self._dequantise(rounded, name, scale, zero)
        if zero == 0:
            self._integers[kept] = rounded
        return kept

    def features(self, value: str) -> str:
        """The integers themselves: a distance of unit vectors does not change with the scale."""
        from onnx import TensorProto

        if value not in self._integers:
            return value
        return self.node("Cast", [self._integers[value]], to=TensorProto.FLOAT)

    def _dequantise(self, value: str, name: str, scale: np.float32, zero: np.uint8) -> str:
        scale_name = self.constant(f"{name}.scale", np.asarray(scale))
        zero_name = self.constant(f"{name}.zero", np.asarray(zero))
        output = self.node("DequantizeLinear", [value, scale_name, zero_name])
        self._scales[output] = scale
        return output

    def _origin(self, value: str) -> str:
        """The dequantised activation that `value` is; pooling keeps scale and zero."""
        producer = {node.output[0]: node for node in self._nodes}[value]
        return self._origin(producer.input[0]) if producer.op_type == "MaxPool" else value

    def _stored(self, name: str, integers: NDArray[np.signedinteger], scales: Array) -> str:
        parts = [
            self.constant(name, integers),
            self.constant(f"{name}.scale", scales),
            self.constant(f"{name}.zero", np.zeros(len(scales), integers.dtype)),
        ]
        return self.node("DequantizeLinear", parts, axis=0)
