"""The ONNX graph computes what the Paddle model computes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from uad.config.training import InputSpec
from uad.errors import BundleError
from uad.graph import Range, build, build_features, build_observed
from uad.graph.int8 import without_dead_values
from uad.models.memory import Memory, fit_memory
from uad.models.parts import Parts
from uad.models.resnet import Weights, random_weights
from uad.models.statistics import fit_whole_image
from uad.models.whitening import whitening

Maps = list[NDArray[np.float32]]


def lived_in(width: int, seed: int) -> Weights:
    """Random weights with batch norms that have seen data."""
    rng = np.random.default_rng(seed)
    weights = dict(random_weights(width, seed))
    for name, value in weights.items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
            weights[name] = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
        elif name.endswith(("bias", "running_mean")):
            weights[name] = rng.normal(0, 0.2, value.shape).astype(np.float32)
    return weights


def images(count: int, spec: InputSpec, seed: int = 0) -> NDArray[np.uint8]:
    shape = (count, spec.height, spec.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def run(model: onnx.ModelProto, batch: NDArray[np.uint8]) -> Maps:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return list(session.run(["map1", "map2", "map3"], {"image": batch}))


def run_paddle(
    student: Weights,
    teacher: Weights,
    spec: InputSpec,
    batch: NDArray[np.uint8],
    whitenings: Maps | None = None,
) -> Maps:
    """The training code's own model on the same pixels."""
    from uad.models.backbone import Pyramid
    from uad.models.paddle_runtime import paddle
    from uad.models.stfpm import distance_maps, mahalanobis, unit

    pixels = batch[..., ::-1].astype(np.float32) / 255.0  # RGB
    pixels = (pixels - np.float32(spec.mean)) / np.float32(spec.std)
    tensor = paddle.to_tensor(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    width = len(teacher["conv1.weight"])
    with paddle.no_grad():
        ours, theirs = (
            Pyramid(width).load(weights).frozen()(tensor) for weights in (teacher, student)
        )
        units = [unit(level) for level in ours]
        if whitenings is None:
            return [level.numpy() for level in distance_maps(units, theirs)]
        matrices = [paddle.to_tensor(matrix) for matrix in whitenings]
        pairs = zip(units, theirs, matrices, strict=True)
        return [mahalanobis(*level).numpy() for level in pairs]


def largest_difference(ours: Maps, theirs: Maps) -> float:
    """Relative to each level's largest value."""
    return max(float(np.abs(a - b).max() / b.max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (80, 48)])
def test_it_equals_paddle_on_every_level_also_on_images_that_are_not_square(
    size: tuple[int, int],
) -> None:
    spec = InputSpec(height=size[0], width=size[1])
    student, teacher, batch = lived_in(8, 1), lived_in(8, 2), images(2, spec)
    ours = run(build(Parts(teacher, student), spec), batch)
    assert [level.shape for level in ours] == [
        (2, size[0] // step, size[1] // step) for step in (4, 8, 16)
    ]
    assert largest_difference(ours, run_paddle(student, teacher, spec, batch)) < 1e-3


def test_the_mahalanobis_distance_equals_paddles_in_float32_and_is_no_larger_than_the_cosines() -> (
    None
):
    spec = InputSpec(height=64, width=48)
    student, teacher, batch = lived_in(8, 1), lived_in(8, 2), images(2, spec)
    rng = np.random.default_rng(0)
    whitenings = [whitening(np.cov(rng.normal(size=(c, 4 * c)))) for c in (8, 16, 32)]
    ours = run(build(Parts(teacher, student, whitenings), spec), batch)
    assert largest_difference(ours, run_paddle(student, teacher, spec, batch, whitenings)) < 1e-3
    for less, cosine in zip(ours, run(build(Parts(teacher, student), spec), batch), strict=True):
        assert (less <= cosine * (1 + 1e-4)).all()
        assert less.mean() < 0.95 * cosine.mean()


def test_another_normalisation_reaches_the_graph() -> None:
    spec = InputSpec(height=32, width=32, mean=(0.3, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    student, teacher, batch = lived_in(8, 1), lived_in(8, 2), images(1, spec)
    ours = run(build(Parts(teacher, student), spec), batch)
    assert largest_difference(ours, run_paddle(student, teacher, spec, batch)) < 1e-3
    usual = run(build(Parts(teacher, student), InputSpec(height=32, width=32)), batch)
    assert largest_difference(ours, usual) > 1e-2


def test_a_student_that_equals_its_teacher_is_at_distance_zero() -> None:
    spec = InputSpec(height=32, width=32)
    weights = lived_in(8, 3)
    for level in run(build(Parts(weights, weights), spec), images(1, spec)):
        assert np.abs(level).max() < 1e-5


def test_features_that_are_zero_give_a_finite_distance_of_one() -> None:
    spec = InputSpec(height=32, width=32)
    student = {name: np.zeros_like(value) for name, value in lived_in(8, 3).items()}
    for level in run(build(Parts(lived_in(8, 4), student), spec), images(1, spec)):
        np.testing.assert_allclose(level, 1.0, atol=1e-6)
    whitenings = [np.eye(c, dtype=np.float32) for c in (8, 16, 32)]
    for level in run(build(Parts(lived_in(8, 4), student, whitenings), spec), images(1, spec)):
        np.testing.assert_allclose(level, 0.5, atol=1e-3)  # half the length of the other's vector


def test_the_graph_is_named_and_typed_as_the_engines_expect() -> None:
    model = build(Parts(lived_in(8, 2), lived_in(8, 1)), InputSpec(height=32, width=64))
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["map1", "map2", "map3"]
    image = model.graph.input[0].type.tensor_type
    assert image.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in image.shape.dim] == ["N", 32, 64, 3]


def test_a_missing_array_is_named() -> None:
    weights = {k: v for k, v in lived_in(8, 1).items() if k != "layer2.0.downsample.1.bias"}
    with pytest.raises(BundleError, match=r"layer2\.0\.downsample\.1\.bias"):
        build(Parts(weights, weights), InputSpec(height=32, width=32))


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_memory_and_whole_image_are_what_the_models_compute(size: tuple[int, int]) -> None:
    spec = InputSpec(height=size[0], width=size[1])
    teacher = lived_in(8, 2)

    def described(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        model = build_features(teacher, spec).SerializeToString()
        session = onnxruntime.InferenceSession(model)
        return list(session.run(["patches", "moments"], {"image": batch}))

    patches, moments = described(images(20, spec, seed=1))
    parts = Parts(
        teacher,
        memory=fit_memory(patches.reshape(-1, patches.shape[-1]), 30),
        whole_image=fit_whole_image(moments),
    )
    batch = images(3, spec, seed=2)
    session = onnxruntime.InferenceSession(build(parts, spec).SerializeToString())
    memory, whole = session.run(["memory", "whole_image"], {"image": batch})
    assert parts.memory is not None and parts.whole_image is not None
    patches, moments = described(batch)
    np.testing.assert_allclose(memory, parts.memory.distances(patches), rtol=1e-3)
    np.testing.assert_allclose(whole, parts.whole_image.distances(moments), rtol=1e-3)


def test_a_large_image_is_compared_with_the_memory_in_blocks() -> None:
    spec, features = InputSpec(height=1024, width=1088), 3
    teacher = lived_in(4, 2)
    rng = np.random.default_rng(0)
    memory = Memory(
        np.zeros(24, np.float32),
        np.eye(24, dtype=np.float32),
        rng.normal(size=(features, 24)).astype(np.float32),
    )
    model = build(Parts(teacher, memory=memory), spec)
    assert sum(node.op_type == "MatMul" for node in model.graph.node) == 2
    batch = images(1, spec)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": batch})
    described = build_features(teacher, spec).SerializeToString()
    (patches,) = onnxruntime.InferenceSession(described).run(["patches"], {"image": batch})
    np.testing.assert_allclose(found, memory.distances(patches), rtol=1e-3)


@pytest.mark.slow
def test_it_equals_paddle_with_the_real_teacher(shared_teacher: object) -> None:
    with np.load(str(shared_teacher)) as stored:
        teacher = {name: stored[name] for name in stored.files}
    spec = InputSpec()
    student, batch = lived_in(64, 1), images(2, spec)
    ours = run(build(Parts(teacher, student), spec), batch)
    assert largest_difference(ours, run_paddle(student, teacher, spec, batch)) < 1e-3


def test_cutting_dead_values_off_changes_no_sum() -> None:
    spec = InputSpec(height=64, width=64)
    model, observed = build_observed(Parts(lived_in(8, 2), lived_in(8, 1)), spec)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(list(observed.values()), {"image": images(2, spec)})
    values = dict(zip(observed, found, strict=True))
    ranges = {name: Range(float(v.min()), float(v.max())) for name, v in values.items()}
    narrowed = without_dead_values(ranges)
    assert sum(narrowed[name].low > ranges[name].low for name in ranges) >= 2
    for name in (name for name in ranges if name.endswith(".shortcut")):
        block = name.removesuffix(".shortcut")
        summands = [f"{block}.outer", name]
        cut = [np.clip(values[each], *narrowed[each]) for each in summands]
        np.testing.assert_allclose(np.maximum(sum(cut), 0), values[f"{block}.out"], atol=1e-5)
