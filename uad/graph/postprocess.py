"""The work of `uad.scoring.maps` as part of the graph, for devices without Python."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from uad.config import DetectorDefinition, InputSpec, ScoreDefinition
from uad.config.score import PartName
from uad.errors import EngineError
from uad.graph.nodes import INPUT, output_sizes
from uad.scoring.maps import LEVELS, MEMORY, WHOLE_IMAGE, Statistics
from uad.scoring.parts import LEAST, exponents, highest_count, map_factors

if TYPE_CHECKING:
    import onnx

SIZE, MAP, SCORE, SHARES = "size", "map", "score", "shares"


def with_scoring(
    model: "onnx.ModelProto",
    score: ScoreDefinition,
    statistics: Statistics,
    spec: InputSpec,
    detector: DetectorDefinition | None = None,
) -> "onnx.ModelProto":
    """A copy of `model` for one image, from which the anomaly map and the score come out.

    Args:
        model: `build`'s or `build_int8`'s.
        score: how level maps become one map.
        statistics: what `score` normalises with, see `uad.scoring.maps.anomaly_map`.
        spec: the model's input.
        detector: how the parts are put together; None: the student alone.

    Returns:
        Inputs `image` (1, H, W, 3) uint8 BGR and `size` (2,) int64, the original image's height and
        width; outputs `map`, that size, float32, and `score`, a float32 scalar; of several parts
        also `shares`, what each part of `exponents(detector)` adds to the score's logarithm.

    Raises:
        EngineError: smoothing reaches further than the first level's map is wide.
    """
    tail = _Tail(score, statistics, spec, detector)
    tail.add()
    return tail.appended_to(model)


class _Tail:
    """The nodes after the network."""

    def __init__(
        self,
        score: ScoreDefinition,
        statistics: Statistics,
        spec: InputSpec,
        detector: DetectorDefinition | None,
    ) -> None:
        self._score = score
        self._statistics = statistics
        self._spec = spec
        self._detector = detector
        self._finest = output_sizes(spec)[0]
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self) -> None:
        if self._detector is None:
            self._full_map(self._student())
            self._node("ReduceMax", [MAP], output=SCORE, keepdims=0)
            return
        known = self._detector.parts()
        maps: dict[PartName, str] = {}
        if "student" in known:
            maps["student"] = self._student()
        if "memory" in known:
            maps["memory"] = self._memory()
        weights = map_factors(self._detector)
        weighted = [
            self._node("Mul", [maps[name], self._number(f"map_{name}", factor)])
            for name, factor in weights.items()
        ]
        self._full_map(self._sum(weighted))
        self._image_score(maps, exponents(self._detector))

    def _image_score(self, maps: Mapping[PartName, str], powers: Mapping[PartName, float]) -> None:
        """`shares` and `score` from each part's own score."""
        one = self._constant("one", np.array([1], np.int64))
        shares = []
        for name, exponent in powers.items():
            value = self._node("Reshape", [self._part_score(name, maps), one])
            value = self._node("Max", [value, self._number("least", LEAST)])
            typical = getattr(self._detector, name).typical
            value = self._node("Div", [value, self._number(f"typical_{name}", typical)])
            log = self._node("Log", [value])
            shares.append(self._node("Mul", [log, self._number(f"power_{name}", exponent)]))
        self._node("Concat", shares, output=SHARES, axis=0)
        total = self._node("ReduceSum", [SHARES], keepdims=0)
        self._node("Exp", [total], output=SCORE)

    def _part_score(self, name: PartName, maps: Mapping[PartName, str]) -> str:
        if name == "student":
            return self._node("ReduceMax", [maps["student"]], keepdims=0)
        if name == "whole_image":
            return WHOLE_IMAGE
        locations = (self._spec.height // 16) * (self._spec.width // 16)
        flat = self._node("Reshape", [MEMORY, self._constant("flat", np.array([-1], np.int64))])
        count = np.array([highest_count(locations)], np.int64)
        top = self._node("TopK", [flat, self._constant("highest", count)], axis=0)
        return self._node("ReduceMean", [top], keepdims=0)

    def _memory(self) -> str:
        axes = self._constant("planes", np.array([1], np.int64))
        plane = self._node("Unsqueeze", [MEMORY, axes])
        return self._resized(plane, self._finest_size())

    def _student(self) -> str:
        """The student's map at the first level's size, (1, 1, h, w)."""
        axes = self._constant("planes", np.array([1], np.int64))
        levels = [self._level(index, axes) for index in range(len(LEVELS))]
        operator = "Add" if self._score.combine == "sum" else "Mul"
        combined = levels[0]
        for level in levels[1:]:
            combined = self._node(operator, [combined, level])
        return self._smoothed(combined) if self._score.smooth_sigma > 0 else combined

    def _full_map(self, value: str) -> None:
        """`map`: the map at the original image's size."""
        one = self._constant("one_plane", np.array([1, 1], np.int64))
        full = self._resized(value, self._node("Concat", [one, SIZE], axis=0))
        both = self._constant("both_planes", np.array([0, 1], np.int64))
        self._node("Squeeze", [full, both], output=MAP)

    def _sum(self, values: Sequence[str]) -> str:
        total = values[0]
        for value in values[1:]:
            total = self._node("Add", [total, value])
        return total

    def _number(self, name: str, value: float) -> str:
        return self._constant(name, np.array(value, np.float32))

    def _finest_size(self) -> str:
        return self._constant("finest", np.array([1, 1, *self._finest], np.int64))

    def _level(self, index: int, axes: str) -> str:
        """One level's map at the first level's size, weighted."""
        value = self._node("Unsqueeze", [LEVELS[index], axes])  # (1, 1, h, w)
        if self._score.normalise != "none":
            mean = np.asarray(self._statistics[f"mean{index + 1}"], np.float32)
            value = self._node("Div", [value, self._constant(f"mean{index + 1}", mean)])
        if index:
            value = self._resized(value, self._finest_size())
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
        if self._detector is not None:
            graph.output.append(helper.make_tensor_value_info(SHARES, TensorProto.FLOAT, ["p"]))
        checker.check_model(whole)
        return whole

    def _node(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or f"scoring{len(self._nodes)}"
        outputs = [name, f"{name}_places"] if operator == "TopK" else [name]
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return name

    def _constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        from onnx import numpy_helper

        name = f"scoring.{name}"
        if all(stored.name != name for stored in self._constants):
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
