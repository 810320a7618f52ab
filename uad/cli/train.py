"""`uad train`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.cli import prepare_training
from uad.cli.data import Defects, Masks, Normal, folder_settings
from uad.config import TrainingConfig, load_settings
from uad.console import console, print_table

if TYPE_CHECKING:
    from uad.bundle import Bundle
    from uad.data import Dataset

QUICK = (
    "Train without a student and make no 8-bit model. The model is ready in a minute or two and "
    "needs about half the time for an image. "
    "The same as --set detector.student=false --set export.int8=off."
)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(train)


def train(
    data: Annotated[
        str, typer.Option(help="A dataset that was ingested (NAME or NAME@VERSION), or a folder.")
    ],
    output: Annotated[Path, typer.Option(help="The bundle's folder.")],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings. `uad config show` prints the defaults."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting, as section.key=value; may be repeated."),
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="embedded, imagenet, or a weight file.")
    ] = "embedded",
    device: Annotated[
        str, typer.Option(help="Device to train on: cpu, gpu:0, or several: gpu:0,1.")
    ] = "cpu",
    without_suspects: Annotated[
        bool,
        typer.Option("--without-suspects", help="The same as --set data.without_suspects=true."),
    ] = False,
    normal: Normal = None,
    defects: Defects = None,
    masks: Masks = None,
    quick: Annotated[bool, typer.Option("--quick", help=QUICK)] = False,
    resume: Annotated[
        bool, typer.Option(help="Continue from the checkpoint of this training, if there is one.")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the bundle in the output folder.")
    ] = False,
) -> None:
    """Fit a detector to normal images and write a bundle.

    The normal images are split. Most of them fill the memory and train the student. A share chooses
    the epoch and the score. Another share, which is used for nothing else, sets the threshold for
    the false alarm rate alpha. Test images are not used. If training is interrupted or killed, the
    same command continues from the student's last epoch. After the end it does not train again. The
    bundle of another training is only replaced with [b]--overwrite[/b].

        uad train --data cookie --output bundles/cookie
        uad train --data cookie --output bundles/cookie-quick --quick
        uad train --data ./my-images --output out --set training.min_steps=400 --set data.alpha=0.01
    """
    asked = folder_settings(data, normal, defects, masks)
    asked += ["data.without_suspects=true"] if without_suspects else []
    settings = load_settings(
        TrainingConfig, config, [*quick_settings(quick=quick), *(set_ or []), *asked]
    )

    prepare_training(
        *(["paddle"] if settings.detector.student else []), folder=output.absolute().parent
    )
    from uad.bundle import REFERENCE
    from uad.operations.inputs import training_inputs
    from uad.training import train as run
    from uad.training.output import finished

    inputs = training_inputs(data, teacher, settings, progress=True)
    dataset, settings, chosen = inputs.dataset, inputs.config, inputs.teacher
    bundle = None if overwrite else finished(output, dataset, settings, chosen)
    if bundle is not None:
        console().print("This training is already finished. Add --overwrite to do it again.")
    else:
        bundle = run(dataset, settings, chosen, output, device=device, resume=resume, progress=True)
    entry = bundle.manifest.calibration[REFERENCE]
    rows = [
        ("images (train / selection / calibration)", _counts(dataset)),
        *_left_out(dataset),
        ("teacher", chosen.id),
        *_made(bundle),
        ("false alarm rate alpha", entry.alpha),
        ("threshold", f"{entry.threshold:.6g}"),
        ("runs on", ", ".join(sorted(bundle.manifest.calibration))),
    ]
    print_table(f"bundle {bundle.path}", ["", ""], rows)
    console().print(f"next: {_next(output, data, measurable=bool(dataset.test))}")


def quick_settings(*, quick: bool) -> list[str]:
    """What `--quick` stands for; settings after these overrule them."""
    return ["detector.student=false", "export.int8=off"] if quick else []


def _next(output: Path, data: str, *, measurable: bool) -> str:
    if measurable:
        return shlex.join(["uad", "evaluate", str(output), "--data", data])
    return shlex.join(["uad", "register", str(output), "--name"]) + " NAME"


def _made(bundle: "Bundle") -> list[tuple[str, object]]:
    """The input, the parts, and the student's epoch if there is one."""
    from uad.scoring.parts import described_parts

    made = bundle.manifest
    rows: list[tuple[str, object]] = [
        ("input (height x width)", f"{made.input.height} x {made.input.width}"),
        ("parts", described_parts(made.detector)),
    ]
    if made.chosen_epoch is None:
        return rows
    return [
        *rows,
        ("epoch kept", f"{made.chosen_epoch} of {len(made.history)}"),
        ("selection loss", made.metrics["selection_loss"]),
    ]


def _left_out(dataset: "Dataset") -> list[tuple[str, str]]:
    """The images that `data.exclude` names, if there are any."""
    from uad.data.samples import natural

    names = [p.message.partition(" is ")[0] for p in dataset.problems if p.kind == "excluded"]
    return [("left out", f"{len(names)}: {natural(names)}")] if names else []


def _counts(dataset: "Dataset") -> str:
    parts = (dataset.train, dataset.selection, dataset.calibration)
    return " / ".join(str(len(part)) for part in parts)
