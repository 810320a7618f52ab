import subprocess
import sys

import numpy as np
import pytest

from uad.models.backbone import Pyramid
from uad.models.paddle_runtime import environment, paddle
from uad.models.resnet import random_weights, shapes
from uad.models.stfpm import distance_maps, loss, unit

AMD = "vendor_id : AuthenticAMD\nflags : fpu avx2 {}\n"


def features(seed: int) -> list[paddle.Tensor]:
    paddle.seed(seed)
    return [paddle.randn([2, 8, 4, 6]), paddle.randn([2, 16, 2, 3])]


def test_a_student_that_agrees_has_no_distance_and_an_opposite_one_has_distance_two() -> None:
    teacher = [unit(level) for level in features(0)]
    for factor, distance in ((3.0, 0.0), (-0.5, 2.0)):
        for level in distance_maps(teacher, [factor * t for t in teacher]):
            assert level.numpy() == pytest.approx(distance, abs=1e-5)


def test_the_gradient_is_that_of_the_loss_composed_of_plain_operations() -> None:
    teacher = [unit(level) for level in features(0)]
    gradients = []
    for composed in (True, False):
        student = features(1)
        for level in student:
            level.stop_gradient = False
        cosine = paddle.nn.functional.cosine_similarity
        value = (
            sum((1.0 - cosine(t, s, axis=1)).mean() for t, s in zip(teacher, student, strict=True))
            if composed
            else loss(teacher, student)
        )
        value.backward()
        gradients.append(np.concatenate([level.grad.numpy().ravel() for level in student]))
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-7)


def test_a_pyramid_has_three_levels_at_a_quarter_an_eighth_and_a_sixteenth() -> None:
    levels = Pyramid(8)(paddle.randn([2, 3, 64, 96]))
    assert [level.shape for level in levels] == [[2, 8, 16, 24], [2, 16, 8, 12], [2, 32, 4, 6]]


def test_weights_survive_a_round_trip_under_torchvision_names() -> None:
    weights = random_weights(8, seed=3)
    kept = Pyramid(8).load(weights).weights()
    assert {name: value.shape for name, value in kept.items()} == dict(shapes(8))
    assert all(np.array_equal(kept[name], weights[name]) for name in weights)


def test_networks_can_be_made_wherever_paddle_was_imported_first() -> None:
    code = (
        "import threading\n"
        "def load():\n"
        "    import uad.models.paddle_runtime\n"
        "first = threading.Thread(target=load); first.start(); first.join()\n"
        "from uad.models.backbone import Pyramid\n"
        "from uad.models.resnet import random_weights\n"
        "Pyramid(8).load(random_weights(8, 0))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("cpuinfo", "chosen"),
    [
        (AMD.format("avx512f avx512bw avx512dq avx512vl"), "7"),
        (AMD.format("avx512f"), "5"),
        ("vendor_id : AuthenticAMD\nflags : fpu sse2\n", None),
        ("vendor_id : GenuineIntel\nflags : avx2 avx512f avx512bw avx512dq avx512vl\n", None),
        ("", None),
    ],
)
def test_the_fast_path_is_named_only_where_the_processor_has_it(
    cpuinfo: str, chosen: str | None
) -> None:
    assert environment(cpuinfo, 2).get("MKL_DEBUG_CPU_TYPE") == chosen
