"""`python -m uad.models.teacher.distillation TEACHER --output FOLDER`: make an embedded teacher."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from uad.config.loading import load_settings
from uad.models.teacher.distillation.recipe import DistillationRecipe


def make(
    teacher: Annotated[Path, typer.Argument(help="ImageNet ResNet-18: .npz, torchvision names.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoint, curve and the result.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Recipe as a YAML file. Without it, the default recipe is used."),
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value")] = None,
) -> None:
    """Distil TEACHER on drawn images into OUTPUT/teacher.safetensors.

    You can interrupt it: the same command continues from the last checkpoint.
    """
    from uad.models.teacher.distillation.network import pack
    from uad.models.teacher.distillation.training import distill

    recipe = load_settings(DistillationRecipe, config, settings or [])
    with np.load(teacher, allow_pickle=False) as arrays:
        weights = {name: np.asarray(arrays[name], np.float32) for name in arrays.files}
    student = distill(weights, recipe, output)
    result = output / "teacher.safetensors"
    pack(student, result, {"seed": str(recipe.seed), "teacher": teacher.name})
    typer.echo(f"wrote {result}")


if __name__ == "__main__":
    typer.run(make)
