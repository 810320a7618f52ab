"""`uad import`: models that other programs trained."""

from pathlib import Path
from typing import Annotated

import typer

from uad.console import console, print_table


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_group)
    group.command()(paddlex)
    app.add_typer(group, name="import")


def _group() -> None:
    """Take over a model that another program trained."""


def paddlex(
    file: Annotated[
        Path, typer.Argument(help="model.pdparams of an STFPM that PaddleX or PaddleSeg trained.")
    ],
    calibrate: Annotated[
        str,
        typer.Option(
            help="Good images that it was not trained on: a folder or the name of a dataset."
        ),
    ],
    output: Annotated[Path, typer.Option(help="The bundle's folder.")],
    alpha: Annotated[float, typer.Option(help="Target false alarm rate.")] = 0.05,
    size: Annotated[int, typer.Option(help="Side of its training images in pixels.")] = 256,
) -> None:
    """Make a bundle of an STFPM that PaddleX or PaddleSeg trained.

    The file's pickle is not run. PaddleX has no calibrated threshold (it cuts
    the map at 0.01 whatever the product), so good images must set one: the
    more, the better, and none of those that the model was trained on, which
    it knows too well.

        uad import paddlex model.pdparams --calibrate photos/good --output bundle
        uad predict --pipeline bundle --input part.png
    """
    from uad.data import load_dataset
    from uad.export.paddlex_import import import_stfpm

    normals = load_dataset(calibrate)
    bundle = import_stfpm(file, normals, output, alpha=alpha, size=(size, size), progress=True)
    entry = bundle.manifest.calibration["onnxruntime/fp32"]
    rows = [
        ("teacher", bundle.manifest.teacher.sha256[:12]),
        ("calibration images", len(entry.scores)),
        ("false alarm rate alpha", entry.alpha),
        ("threshold", f"{entry.threshold:.6g}"),
    ]
    print_table(f"bundle {bundle.path}", ["", ""], rows)
    console().print(
        f"next: uad evaluate {output} --data DATA, or uad register {output} --name NAME"
    )
