"""`uad suspects`."""

from pathlib import Path
from typing import Annotated

import typer

from uad.cli.data import Defects, Masks, Normal, folder_settings
from uad.config import TrainingConfig, load_settings
from uad.console import console, print_table
from uad.errors.extras import require

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(suspects)


def suspects(
    data: Annotated[
        str, typer.Argument(help="A dataset that was ingested (NAME or NAME@VERSION), or a folder.")
    ],
    teacher: Annotated[
        str, typer.Option(help="embedded, imagenet, or a weight file.")
    ] = "embedded",
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of training settings. `uad config show` prints the defaults."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting, as section.key=value; may be repeated."),
    ] = None,
    normal: Normal = None,
    defects: Defects = None,
    masks: Masks = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML page with pictures. Default: under UAD_HOME.")
    ] = None,
) -> None:
    r"""Find good images that look different from the others: perhaps they show defects.

    The frozen teacher compares each good image with the most similar others. Nothing is trained.
    Look at the page before you leave any out. A rare but good part is a suspect too. A detector
    that never saw such a part raises an alarm at the next one.

        uad suspects cookie
        uad train --data cookie --output out --set 'data.exclude=[train/good/007.png]'
        uad train --data cookie --output out --without-suspects
    """
    settings = load_settings(
        TrainingConfig, config, [*(set_ or []), *folder_settings(data, normal, defects, masks)]
    )

    require("paddle", "sklearn", "scipy")
    from uad.data import load_dataset
    from uad.data.input_shape import fitted_input
    from uad.evaluation.suspects_page import write_suspects_page
    from uad.models.teacher import load_teacher
    from uad.training.suspects import find_suspects

    dataset = load_dataset(data, settings.data)
    chosen = load_teacher(teacher, width=settings.model.width, seed=settings.training.seed)
    spec = fitted_input(settings.input, dataset.normals).spec()
    ranking = find_suspects(dataset, chosen, spec, progress=True)
    found = ranking.suspects
    rows = [(each.sample.name, f"{each.score / ranking.limit:.2f}") for each in found[:_SHOWN]]
    if len(found) > _SHOWN:
        rows.append(("...", f"and {len(found) - _SHOWN} more"))
    title = f"suspects among the {len(ranking.images)} good images of {dataset.name}: {len(found)}"
    print_table(title, ("image", "score / limit"), rows)
    page = write_suspects_page(dataset, ranking, chosen.id, report)
    console().print(f"report: {page} (open it in a browser)")
    if found:
        names = ", ".join(each.sample.name for each in found[:3]) + ", ..." * (len(found) > 3)
        console().print(
            (
                "next: look at them. Then move defects out of the folder, or train without them: "
                f"--set 'data.exclude=[{names}]', or without all: --set data.without_suspects=true"
            ),
        )
