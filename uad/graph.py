"""The inference graph: image in, one distance map a level out, built with `onnx.helper`.

    image (N, H, W, 3) uint8 BGR
      -> normalise -> teacher (N, C_l, h_l, w_l) --\
                   -> student (N, C_l, h_l, w_l) ---> 1 - cos over C_l -> map{l} (N, h_l, w_l)

Batch norms are folded into the convolutions; scale and channel order of the input into the first.
The graph ends before upsampling, which is cheaper and more exact outside (`uad.scoring`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uad.config.training import InputSpec
from uad.errors import BundleError
from uad.types import Weights

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8
LEVELS = 3
BATCH_NORM_EPSILON = 1e-5
NORM_FLOOR = 1e-12
"""Smallest product of squared norms that the cosine divides by; a zero vector is at distance 1."""

Array = NDArray[np.float32]


def build(student: Weights, teacher: Weights, spec: InputSpec) -> "onnx.ModelProto":
    """Build the graph of a student-teacher pair.

    Args:
        student: float32 arrays by torchvision's names, conv1 to layer3, of any width.
        teacher: the same names and shapes.
        spec: input size, and mean and std per RGB channel of values in [0, 1].

    Returns:
        A checked model with input `image` (N, H, W, 3) uint8 BGR, N free, and outputs `map1`,
        `map2`, `map3`: (N, H / 2^(l+1), W / 2^(l+1)) float32 cosine distances in [0, 2].

    Raises:
        BundleError: an array is missing, naming it.
    """
    graph = _Graph(spec)
    pixels = graph.pixels()
    pyramids = [
        _pyramid(graph, name, weights, pixels)
        for name, weights in (("teacher", teacher), ("student", student))
    ]
    for level, (ours, theirs) in enumerate(zip(*pyramids, strict=True), start=1):
        graph.distance(level, ours, theirs)
    return graph.model()


def fold(weights: Weights, convolution: str, norm: str) -> tuple[Array, Array]:
    """Weight and bias of `convolution` with the batch norm `norm` folded in (epsilon 1e-5)."""
    try:
        kernel = np.asarray(weights[f"{convolution}.weight"], np.float64)
        gamma, beta, mean, variance = (
            np.asarray(weights[f"{norm}.{part}"], np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
    except KeyError as exc:
        raise BundleError(f"the weights lack {exc.args[0]}: not a ResNet-18 up to layer3") from exc
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    folded = kernel * scale[:, None, None, None]
    return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)


def _pyramid(graph: "_Graph", name: str, weights: Weights, pixels: str) -> list[str]:
    """Outputs of layer1 to layer3, each after its last ReLU."""
    kernel, bias = fold(weights, "conv1", "bn1")
    value = graph.relu(graph.conv(pixels, f"{name}.conv1", graph.for_pixels(kernel), bias, 2))
    value = graph.node("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    levels = []
    for level in range(1, LEVELS + 1):
        for block in (0, 1):
            stride = 2 if level > 1 and block == 0 else 1
            value = _block(graph, name, weights, f"layer{level}.{block}", value, stride)
        levels.append(value)
    return levels


def _block(
    graph: "_Graph", name: str, weights: Weights, block: str, value: str, stride: int
) -> str:
    """ResNet's basic block (He et al., 2016, fig. 2)."""

    def conv(part: str, norm: str, source: str, step: int) -> str:
        kernel, bias = fold(weights, f"{block}.{part}", f"{block}.{norm}")
        return graph.conv(source, f"{name}.{block}.{part}", kernel, bias, step)

    inner = conv("conv2", "bn2", graph.relu(conv("conv1", "bn1", value, stride)), 1)
    if stride > 1:
        value = conv("downsample.0", "downsample.1", value, stride)
    return graph.relu(graph.node("Add", [inner, value]))


class _Graph:
    """Nodes and initialisers as they are added."""

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._nodes: list[onnx.NodeProto] = []
        self._initialisers: list[onnx.TensorProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def pixels(self) -> str:
        """The image minus the mean, (N, 3, H, W) float32 BGR; `for_pixels` does the rest."""
        from onnx import TensorProto

        mean = np.float32(255.0) * np.asarray(self._spec.mean[::-1], np.float32)
        value = self.node("Cast", ["image"], to=TensorProto.FLOAT)
        value = self.node("Sub", [value, self.constant("mean", mean)])
        return self.node("Transpose", [value], perm=[0, 3, 1, 2])

    def for_pixels(self, kernel: Array) -> Array:
        """First kernel for BGR pixels in [0, 255] less the mean: reversed, divided by the std."""
        std = np.asarray(self._spec.std[::-1], np.float32) * np.float32(255.0)
        return kernel[:, ::-1] / std[None, :, None, None]

    def conv(self, value: str, name: str, kernel: Array, bias: Array, stride: int) -> str:
        """A convolution with padding that keeps the size before striding."""
        size = kernel.shape[2]
        return self.node(
            "Conv",
            [
                value,
                self.constant(f"{name}.weight", kernel),
                self.constant(f"{name}.bias", bias),
            ],
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
        )

    def relu(self, value: str) -> str:
        return self.node("Relu", [value])

    def distance(self, level: int, left: str, right: str) -> None:
        """Output `map{level}`: 1 - cos over channels (Wang et al., 2021, eq. 1)."""
        axes = self.constant("channels", np.array([1], np.int64))

        def dot(a: str, b: str) -> str:
            return self.node("ReduceSum", [self.node("Mul", [a, b]), axes], keepdims=0)

        floor = self.constant("floor", np.array(NORM_FLOOR, np.float32))
        one = self.constant("one", np.array(1.0, np.float32))
        norms = self.node("Mul", [dot(left, left), dot(right, right)])
        norms = self.node("Sqrt", [self.node("Max", [norms, floor])])
        cosine = self.node("Div", [dot(left, right), norms])
        self.node("Sub", [one, cosine], output=f"map{level}")
        self._add_output(level)

    def _add_output(self, level: int) -> None:
        from onnx import TensorProto, helper

        size = [side // 2 ** (level + 1) for side in (self._spec.height, self._spec.width)]
        self._outputs.append(
            helper.make_tensor_value_info(f"map{level}", TensorProto.FLOAT, ["N", *size])
        )

    def node(
        self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any
    ) -> str:
        """Add a node and return its output's name."""
        from onnx import helper

        name = output or f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add an initialiser, once a name, and return the name."""
        from onnx import numpy_helper

        if all(stored.name != name for stored in self._initialisers):
            stored = numpy_helper.from_array(np.ascontiguousarray(value), name)
            self._initialisers.append(stored)
        return name

    def model(self) -> "onnx.ModelProto":
        from onnx import TensorProto, checker, helper

        shape = ["N", self._spec.height, self._spec.width, 3]
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, shape)
        graph = helper.make_graph(self._nodes, "stfpm", [image], self._outputs, self._initialisers)
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="uad",
        )
        checker.check_model(model, full_check=True)
        return model
