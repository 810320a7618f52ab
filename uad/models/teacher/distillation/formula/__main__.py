"""Make a teacher from fractals: `python -m uad.models.teacher.distillation.formula`."""

from pathlib import Path
from typing import Annotated

import typer

from uad.config.loading import load_settings
from uad.models.teacher.distillation.formula.batches import FormulaRecipe


def make(
    output: Annotated[Path, typer.Option(help="Folder for checkpoint, curve and the result.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Recipe as a YAML file. Without it, the default recipe is used."),
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value")] = None,
) -> None:
    """Train OUTPUT/teacher.safetensors to tell drawn fractals apart.

    You can interrupt it: the same command continues from the last checkpoint.
    """
    import torch

    from uad.models.teacher.distillation.formula.training import classify, held_out_accuracy
    from uad.models.teacher.distillation.network import pack

    recipe = load_settings(FormulaRecipe, config, settings or [])
    torch.set_num_threads(recipe.threads)
    network = classify(recipe, output)
    accuracy = f"{held_out_accuracy(network, recipe):.4f}"
    result = output / "teacher.safetensors"
    pack(network, result, {"seed": str(recipe.seed), "held_out_accuracy": accuracy})
    typer.echo(f"wrote {result}; new pictures named correctly: {accuracy}")


if __name__ == "__main__":
    typer.run(make)
