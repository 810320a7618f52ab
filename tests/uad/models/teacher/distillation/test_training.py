"""The distillation itself; skipped where the extra `distill` is not installed."""

from pathlib import Path

import numpy as np
import pytest

from uad.errors import TrainingError
from uad.models.resnet import random_weights
from uad.models.teacher import load_teacher
from uad.models.teacher.distillation.recipe import DistillationRecipe, Stage

torch = pytest.importorskip("torch")

WIDTH = 8


@pytest.fixture
def recipe() -> DistillationRecipe:
    return DistillationRecipe(
        width=WIDTH,
        images=32,
        workers=1,
        stages=(Stage(until=1.0, edge_px=32, batch_size=8),),
        recalibration_px=32,
        recalibration_images=16,
        report_every_steps=2,
    )


def test_a_folded_teacher_computes_what_the_whole_one_does() -> None:
    from uad.models.teacher.distillation.network import folded, pyramid

    rng = np.random.default_rng(0)
    weights = {
        name: value + rng.uniform(0.1, 0.5, value.shape).astype(np.float32)
        if value.ndim == 1
        else value
        for name, value in random_weights(WIDTH, 0).items()
    }
    whole = {name: torch.from_numpy(value) for name, value in weights.items()}
    images = torch.from_numpy(rng.standard_normal((2, 3, 32, 32)).astype(np.float32))

    pairs = zip(
        pyramid(whole, images, training=False),
        pyramid(folded(weights), images, training=False),
        strict=True,
    )

    for plain, quick in pairs:
        torch.testing.assert_close(plain, quick, rtol=1e-3, atol=1e-4)


def test_equal_features_cost_nothing_and_others_do() -> None:
    from uad.models.teacher.distillation.training import level_losses

    features = [torch.rand(2, 4, 3, 3) + 0.1]
    variances = [torch.ones(4)]

    same = level_losses(features, features, variances)
    other = level_losses(features, [torch.rand(2, 4, 3, 3)], variances)

    assert [float(part) for part in same] == pytest.approx([0, 0], abs=1e-6)
    assert min(float(part) for part in other) > 0.01


def test_the_packed_student_is_a_teacher_that_computes_the_same(tmp_path: Path) -> None:
    from uad.models.teacher.distillation.network import initial_weights, pack, pyramid

    student = initial_weights(0, WIDTH)
    for value in student.values():
        if value.dim() == 1:
            value += torch.rand_like(value) * 0.3
    pack(student, tmp_path / "net.safetensors", {"seed": "0"})
    teacher = load_teacher(str(tmp_path / "net.safetensors"), width=WIDTH)
    read = {name: torch.from_numpy(value) for name, value in teacher.weights.items()}
    images = torch.rand(2, 3, 32, 32)

    pairs = zip(
        pyramid(student, images, training=False), pyramid(read, images, training=False), strict=True
    )

    for trained, shipped in pairs:
        torch.testing.assert_close(trained, shipped, rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_a_distillation_leaves_its_curve_goes_on_when_repeated_and_refuses_another_recipe(
    tmp_path: Path, recipe: DistillationRecipe
) -> None:
    from uad.models.teacher.distillation.training import distill

    student = distill(random_weights(WIDTH, 0), recipe, tmp_path)

    assert all(bool(torch.isfinite(value).all()) for value in student.values())
    lines = (tmp_path / "curve.csv").read_text().splitlines()
    assert lines[0].startswith("step,images,seconds,rate,squared1,cosine1")
    assert lines[-1].startswith("4,32,")
    again = distill(random_weights(WIDTH, 0), recipe, tmp_path)
    assert (tmp_path / "curve.csv").read_text().splitlines() == lines
    assert all(torch.equal(again[name], value) for name, value in student.items())
    with pytest.raises(TrainingError, match="another recipe"):
        distill(random_weights(WIDTH, 0), recipe.model_copy(update={"seed": 1}), tmp_path)
