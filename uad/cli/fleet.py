"""`uad fleet`: retrain many products; `uad worker`: run the trainings of a Prefect server."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from uad.cli import prepare_training
from uad.config.choices import Runner
from uad.console import console, print_table

FLEET_STOPPED = (
    "Stopped. Products that were finished keep their new versions; nothing changed for the others. "
    "Run the same command again: it goes on with the products that are left."
)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    fleet = typer.Typer(help="Retrain many products in one run.", no_args_is_help=True)
    fleet.callback()(_group)
    fleet.command()(retrain)
    app.add_typer(fleet, name="fleet")
    app.command()(worker)


def _group() -> None:
    """Many products at once."""


def retrain(
    file: Annotated[Path, typer.Argument(help="YAML file with the products.")],
    runner: Annotated[
        Runner,
        typer.Option(
            help="here: one after another. processes: several processes. dask: a Dask cluster."
        ),
    ] = "here",
    workers: Annotated[int, typer.Option(min=1, help="How many run at the same time.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler. Without it, one is started on this machine."
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Retrain products without new images too.")] = False,
) -> None:
    """Retrain all products of a file. If one fails, the others continue.

    The exit status is 1 if any failed. An example of the file, in which only `data` is required:

        products:
          cookie:
            data: photos/cookie
          bottle:
            data: photos/bottle
            promote: never
            config: {training: {min_steps: 400}}

        uad fleet retrain products.yaml
        uad fleet retrain products.yaml --runner processes --workers 2
    """
    prepare_training("paddle")
    from flows.engine import running_flows

    here = runner == "here"
    with running_flows(FLEET_STOPPED, engine=here):
        from flows.deployments import scheduler as one_server
        from flows.fleet import COLUMNS, read_fleet, run_fleet

        fleet = read_fleet(file)
        console().print(f"retraining {len(fleet.products)} products")
        # Several processes need one server. Otherwise each would start its own engine on one
        # database.
        shared: AbstractContextManager[object] = nullcontext() if here else one_server()
        with shared:
            rows = run_fleet(
                fleet,
                runner=runner,
                workers=workers,
                scheduler=scheduler,
                skip_unchanged=not force,
            )
    print_table("fleet", COLUMNS, [row.cells() for row in rows])
    if any(row.error for row in rows):
        raise typer.Exit(1)


def worker(
    pool: Annotated[str, typer.Option(help="The work pool; it is made if it does not exist.")] = (
        "uad"
    ),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time.", show_default="no limit")
    ] = None,
) -> None:
    """Run the trainings of a Prefect server until Ctrl-C: a safe `prefect worker start`.

    If an earlier worker of this machine and UAD_HOME died, its runs are marked as crashed, and
    retrainings start again from their last checkpoint. Prefect alone would show them as running for
    ever, and the next retraining would wait for them. Set PREFECT_API_URL.

        PREFECT_API_URL=http://prefect:4200/api uad worker --pool uad
    """
    prepare_training()
    from flows import environment

    environment.prepare()
    from flows.worker import become_worker, recover

    for name in recover(pool):
        console().print(f"{name}: its worker was stopped. The run was marked as crashed.")
    become_worker(pool, limit)
