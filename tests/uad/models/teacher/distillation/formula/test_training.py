"""The classification itself; skipped where the extra `distill` is not installed."""

import csv
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from uad.errors import TrainingError
from uad.models.teacher import load_teacher
from uad.models.teacher.distillation.formula.batches import FormulaRecipe

torch = pytest.importorskip("torch")

WIDTH = 8


@pytest.fixture
def recipe() -> FormulaRecipe:
    return FormulaRecipe(
        width=WIDTH,
        images=96,
        categories=3,
        edge_px=32,
        batch_size=8,
        recalibration_batches=2,
        held_out_batches=4,
        report_every_steps=2,
        checkpoint_every_seconds=1e-9,
    )


def test_the_loss_falls_and_held_out_pictures_are_named_better_than_by_chance(
    tmp_path: Path, recipe: FormulaRecipe
) -> None:
    from uad.models.teacher.distillation.formula.training import classify, held_out_accuracy

    longer = recipe.model_copy(
        update={
            "images": 640,
            "learning_rate": 0.01,
            "held_out_batches": 12,
            "report_every_steps": 20,
            "checkpoint_every_seconds": 60,
        }
    )

    network = classify(longer, tmp_path)

    with (tmp_path / "curve.csv").open() as stream:
        curve = list(csv.DictReader(stream))
    assert float(curve[-1]["loss"]) < 0.9 * float(curve[0]["loss"])
    assert [int(line["images"]) for line in curve] == [160, 320, 480, 640]
    assert held_out_accuracy(network, longer) > 0.45  # by chance 0.33


def test_an_interrupted_training_goes_on_to_the_same_bits(
    tmp_path: Path, recipe: FormulaRecipe
) -> None:
    from uad.models.teacher.distillation.formula.training import classify, updates

    whole = classify(recipe, tmp_path / "whole")

    begun = updates(recipe, tmp_path / "parts")
    steps = [state.step for state in islice(begun, 5)]
    begun.close()
    steps += [state.step for state in updates(recipe, tmp_path / "parts")]
    parts = classify(recipe, tmp_path / "parts")

    assert steps == list(range(1, 13))
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


def test_a_folder_begun_with_another_recipe_is_refused(
    tmp_path: Path, recipe: FormulaRecipe
) -> None:
    from uad.models.teacher.distillation.formula.training import classify

    classify(recipe.model_copy(update={"images": 8}), tmp_path)

    with pytest.raises(TrainingError, match="another recipe"):
        classify(recipe, tmp_path)


@pytest.mark.slow
def test_drawing_ahead_in_other_processes_changes_nothing(
    tmp_path: Path, recipe: FormulaRecipe
) -> None:
    from uad.models.teacher.distillation.formula.training import classify

    alone = classify(recipe, tmp_path / "alone")
    helped = classify(recipe.model_copy(update={"drawers": 1}), tmp_path / "helped")

    assert all(torch.equal(helped[name], value) for name, value in alone.items())


def test_the_command_leaves_a_teacher(tmp_path: Path) -> None:
    import typer

    from uad.models.teacher.distillation.formula.__main__ import make

    app = typer.Typer()
    app.command()(make)
    small = [f"width={WIDTH}", "images=8", "categories=3", "edge_px=32", "batch_size=8"]
    small += ["recalibration_batches=1", "held_out_batches=1"]
    arguments = ["--output", str(tmp_path), *(word for s in small for word in ("--set", s))]

    result = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert result.exit_code == 0
    assert "new pictures named correctly" in result.output
    teacher = load_teacher(str(tmp_path / "teacher.safetensors"), width=WIDTH)
    assert teacher.id == "file:teacher.safetensors"
