"""ONNX nodes and initialisers as they are added, in float32."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec
from uad.scoring.maps import LEVELS

if TYPE_CHECKING:
    import onnx

INPUT = "image"
OPSET = 17
IR_VERSION = 8
NORM_FLOOR = 1e-12
"""Smallest product of squared norms that the cosine divides by; a zero vector is at distance 1."""

Array = NDArray[np.float32]


def output_sizes(spec: InputSpec) -> list[tuple[int, int]]:
    """(h, w) of each level's map: a quarter, an eighth and a sixteenth of the input."""
    steps = [4 * 2**level for level in range(len(LEVELS))]
    return [(spec.height // step, spec.width // step) for step in steps]


class Graph:
    """A float32 graph; `Int8Graph` overrides what quantisation changes."""

    def __init__(self, spec: InputSpec, whitenings: Sequence[Array] | None = None) -> None:
        self.spec = spec
        self.whitenings = whitenings
        self.observed: dict[str, str] = {}
        """The value behind each activation that quantisation needs the range of."""
        self._nodes: list[onnx.NodeProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._initialisers: dict[str, onnx.TensorProto] = {}

    def pixels(self) -> str:
        """The image minus the mean, (N, 3, H, W) float32 BGR; `first_kernel` does the rest."""
        from onnx import TensorProto

        value = self.node("Cast", [INPUT], to=TensorProto.FLOAT)
        value = self.node("Sub", [value, self.constant("mean", self.mean)])
        return self.node("Transpose", [value], perm=[0, 3, 1, 2])

    def first_kernel(self, kernel: Array, bias: Array) -> tuple[Array, Array]:
        """Kernel and bias for `pixels`: RGB to BGR, divided by the standard deviation."""
        return kernel[:, ::-1] / self.std[:, None, None], bias

    @property
    def mean(self) -> Array:
        """(3,) BGR, of pixel values in [0, 255]."""
        return np.asarray(self.spec.mean[::-1], np.float32) * np.float32(255.0)

    @property
    def std(self) -> Array:
        """(3,) BGR, of pixel values in [0, 255]."""
        return np.asarray(self.spec.std[::-1], np.float32) * np.float32(255.0)

    def conv(self, value: str, name: str, kernel: Array, bias: Array, stride: int) -> str:
        """A convolution whose padding keeps the size before striding."""
        size = kernel.shape[2]
        return self.node(
            "Conv",
            [value, *self.parameters(value, name, kernel, bias)],
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
        )

    def parameters(self, value: str, name: str, kernel: Array, bias: Array) -> list[str]:
        """Weight and bias of the convolution `name` of `value`."""
        del value
        return [self.constant(f"{name}.weight", kernel), self.constant(f"{name}.bias", bias)]

    def activation(self, name: str, value: str) -> str:
        """`value`, known as `name`; where an int8 graph rounds."""
        self.observed[name] = value
        return value

    def features(self, value: str) -> str:
        """The activation `value` as the distance takes it, at any positive scale."""
        return value

    def distance(self, level: int, teacher: str, student: str) -> None:
        """The level's output from both networks' features."""
        self.output(LEVELS[level], output_sizes(self.spec)[level])
        teacher, student = self.features(teacher), self.features(student)
        if self.whitenings is None:
            self._cosine(LEVELS[level], teacher, student)
        else:
            self._mahalanobis(LEVELS[level], teacher, student, self.whitenings[level])

    def _cosine(self, output: str, teacher: str, student: str) -> None:
        """`output` = 1 - cos over channels (Wang et al., 2021, eq. 1)."""
        one = self.constant("one", np.array(1.0, np.float32))
        norms = self.node("Mul", [self._dot(teacher, teacher), self._dot(student, student)])
        cosine = self.node("Div", [self._dot(teacher, student), self._root(norms)])
        self.node("Sub", [one, cosine], output=output)

    def _mahalanobis(self, output: str, teacher: str, student: str, whitening: Array) -> None:
        """`output` = |W r|^2 / 2, r the difference of unit vectors: see `uad.models.whitening`."""
        units = [self.unit(value) for value in (teacher, student)]
        kernel = (whitening * np.float32(np.sqrt(0.5)))[:, :, None, None]
        weight = self.constant(f"{output}.whitening", kernel)
        whitened = self.node("Conv", [self.node("Sub", units), weight], kernel_shape=[1, 1])
        self._dot(whitened, whitened, output=output)

    def unit(self, value: str) -> str:
        """`value` scaled to length 1 along the channels."""
        return self.node("Div", [value, self._root(self._dot(value, value, keepdims=1))])

    def _dot(self, a: str, b: str, *, keepdims: int = 0, output: str = "") -> str:
        axes = self.constant("channels", np.array([1], np.int64))
        product = self.node("Mul", [a, b])
        return self.node("ReduceSum", [product, axes], output, keepdims=keepdims)

    def _root(self, value: str) -> str:
        floor = self.constant("floor", np.array(NORM_FLOOR, np.float32))
        return self.node("Sqrt", [self.node("Max", [value, floor])])

    def output(self, name: str, shape: Sequence[int]) -> str:
        """Let the value `name` come out of the graph, (N, *shape) float32."""
        from onnx import TensorProto, helper

        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))
        return name

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

        if name not in self._initialisers:
            stored = numpy_helper.from_array(np.ascontiguousarray(value), name)
            self._initialisers[name] = stored
        return name

    def model(self) -> "onnx.ModelProto":
        """The checked model."""
        from onnx import TensorProto, checker, helper

        shape = ["N", self.spec.height, self.spec.width, 3]
        image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)
        initialisers = list(self._initialisers.values())
        model = helper.make_model(
            helper.make_graph(self._nodes, "uad", [image], self._outputs, initialisers),
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="uad",
        )
        checker.check_model(model, full_check=True)
        return model
