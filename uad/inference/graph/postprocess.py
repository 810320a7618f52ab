"""What `uad.scoring.maps` does, as part of the graph, for devices without Python."""

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from uad.config import InputSpec, ScoreDefinition
from uad.errors import EngineError
from uad.inference.graph.nodes import INPUT, output_sizes
from uad.scoring.maps import Statistics
from uad.types import LEVELS

if TYPE_CHECKING:
    import onnx

SIZE, MAP, SCORE = "size", "map", "score"


def with_scoring(
    model: "onnx.ModelProto", score: ScoreDefinition, statistics: Statistics, spec: InputSpec
) -> "onnx.ModelProto":
    """A copy of `model` for one image, from which the anomaly map and the score come out.

    Args:
        model: `build`'s or `build_int8`'s.
        score: how level maps become one map.
        statistics: what `score` normalises with, see `uad.scoring.maps.anomaly_map`.
        spec: the model's input.

    Returns:
        Inputs `image` (1, H, W, 3) uint8 BGR and `size` (2,) int64, the original image's height and
        width; outputs `map`, that size, float32, and `score`, its maximum, a float32 scalar.

    Raises:
        EngineError: smoothing reaches further than the first level's map is wide.
    """
    tail = _Tail(score, statistics, spec)
    tail.add()
    return tail.appended_to(model)


class _Tail:
    """The nodes after the network."""

    def __init__(self, score: ScoreDefinition, statistics: Statistics, spec: InputSpec) -> None:
        self._score = score
        self._statistics = statistics
        self._spec = spec
        self._finest = output_sizes(spec)[0]
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self) -> None:
        axes = self._constant("planes", np.array([1], np.int64))
        levels = [self._level(index, axes) for index in range(len(LEVELS))]
        operator = "Add" if self._score.combine == "sum" else "Mul"
        combined = levels[0]
        for level in levels[1:]:
            combined = self._node(operator, [combined, level])
        if self._score.smooth_sigma > 0:
            combined = self._smoothed(combined)
        one = self._constant("one_plane", np.array([1, 1], np.int64))
        full = self._resized(combined, self._node("Concat", [one, SIZE], axis=0))
        both = self._constant("both_planes", np.array([0, 1], np.int64))
        self._node("Squeeze", [full, both], output=MAP)
        self._node("ReduceMax", [MAP], output=SCORE, keepdims=0)

    def _level(self, index: int, axes: str) -> str:
        """One level's map at the first level's size, weighted."""
        value = self._node("Unsqueeze", [LEVELS[index], axes])  # (1, 1, h, w)
        if self._score.normalise != "none":
            mean = np.asarray(self._statistics[f"mean{index + 1}"], np.float32)
            value = self._node("Div", [value, self._constant(f"mean{index + 1}", mean)])
        if index:
            size = np.array([1, 1, *self._finest], np.int64)
            value = self._resized(value, self._constant("finest", size))
        weight = self._score.weights[index]
        if weight == 1.0:
            return value
        factor = self._constant(f"weight{index + 1}", np.array(weight, np.float32))
        return self._node("Mul" if self._score.combine == "sum" else "Pow", [value, factor])

    def _smoothed(self, value: str) -> str:
        """As `cv2.GaussianBlur` of float32 with its default border (reflect 101)."""
        sigma = self._score.smooth_sigma
        length = round(sigma * 8 + 1) | 1
        reach = length // 2
        if reach >= min(self._finest):
            raise EngineError(
                f"smoothing by {sigma:g} reaches beyond a map of {self._finest[0]}x"
                f"{self._finest[1]}: retrain with a larger input or less smoothing"
            )
        kernel = cv2.getGaussianKernel(length, sigma, cv2.CV_32F)
        pads = self._constant("pads", np.array([0, 0, reach, reach] * 2, np.int64))
        value = self._node("Pad", [value, pads], mode="reflect")
        for name, shape in (("rows", (1, 1, length, 1)), ("columns", (1, 1, 1, length))):
            weights = self._constant(name, np.asarray(kernel, np.float32).reshape(shape))
            value = self._node("Conv", [value, weights])
        return value

    def _resized(self, value: str, size: str) -> str:
        """As `cv2.resize` with INTER_LINEAR."""
        return self._node(
            "Resize",
            [value, "", "", size],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def appended_to(self, model: "onnx.ModelProto") -> "onnx.ModelProto":
        from onnx import ModelProto, TensorProto, checker, helper

        whole = ModelProto()
        whole.CopyFrom(model)
        graph = whole.graph
        del graph.output[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(self._constants)
        image = next(value for value in graph.input if value.name == INPUT)
        image.type.tensor_type.shape.dim[0].dim_value = 1
        graph.input.append(helper.make_tensor_value_info(SIZE, TensorProto.INT64, [2]))
        graph.output.append(helper.make_tensor_value_info(MAP, TensorProto.FLOAT, ["h", "w"]))
        graph.output.append(helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, []))
        checker.check_model(whole)
        return whole

    def _node(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or f"scoring{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        from onnx import numpy_helper

        name = f"scoring.{name}"
        if all(stored.name != name for stored in self._constants):
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
