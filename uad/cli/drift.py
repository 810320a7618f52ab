"""`uad drift`: what to look at while models serve."""

from typing import Annotated

import typer

from uad.console import console, print_table
from uad.errors.extras import require
from uad.storage.names import ProductName

DRIFTED = 3
"""Exit status when drift or defects are reported, for scripts."""


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(drift)


def drift(
    name: Annotated[str, typer.Argument(help="The product. Its champion's scores are examined.")],
    hours: Annotated[float, typer.Option(help="How far to look back.")] = 24.0,
    level: Annotated[
        float, typer.Option(help="Chance of a report when nothing has changed.")
    ] = 0.001,
) -> None:
    """Check whether recent images are still like those that set the threshold.

    Two tests compare the scores from servers of this UAD_HOME with the champion's calibration
    scores. Are the scores still like those? Are there more alarms than good images cause? If
    nothing has changed, the first test reports with a chance of at most `level` per time window,
    however often you look. The second reports with a chance of at most `level` per look. Defects
    raise scores as well as a changed lamp does. The newest kept images with changed scores are
    listed. Look at them, say which are good, and retrain with [b]--with-feedback[/b].

    The exit status is 3 if drift or defects are reported.

        uad drift cookie
        uad drift cookie --hours 168
    """
    require("mlflow")
    from uad.operations.drift import IMAGE_COLUMNS, IMAGES_TITLE, SAY, look_at_scores

    found = look_at_scores(ProductName(name), hours, level)
    print_table(f"drift of {name}", ["", ""], found.rows())
    if found.moved:
        print_table(IMAGES_TITLE, IMAGE_COLUMNS, found.image_rows())
        console().print(SAY, highlight=False)
    if found.detected:
        raise typer.Exit(DRIFTED)
