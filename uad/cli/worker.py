"""`uad worker`: a process that trains what a Prefect server asks for."""

from typing import Annotated

import typer

from uad.cli import prepare_training
from uad.console import console


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(worker)


def worker(
    pool: Annotated[str, typer.Option(help="The work pool; it is made if it does not exist.")] = (
        "uad"
    ),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time.", show_default="no limit")
    ] = None,
) -> None:
    """Train what a Prefect server asks for, until Ctrl-C: `prefect worker start`, made safe.

    Runs that an earlier worker of this machine and UAD_HOME left behind are marked as crashed, and
    retrainings begin again from their last checkpoint. Prefect alone would show them as running for
    ever, and the next retraining would wait for them. Needs PREFECT_API_URL.

        PREFECT_API_URL=http://prefect:4200/api uad worker --pool uad
    """
    prepare_training()
    from flows import environment

    environment.prepare()
    from flows.worker import become_worker, recover

    for name in recover(pool):
        console().print(f"{name}: its worker was stopped. The run was marked as crashed.")
    become_worker(pool, limit)
