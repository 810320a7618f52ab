"""`uad register`, `models`, `promote`, `rollback`, `ui`."""

import os
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.cli import folder_to_change, prepare_training
from uad.cli.retrain import Gate, Recent, gate_rule
from uad.console import console, print_table
from uad.errors import RegistryError
from uad.errors.extras import require
from uad.errors.redaction import without_passwords
from uad.storage.names import DatasetAddress, ModelVersionNumber, ProductName

if TYPE_CHECKING:
    from uad.registry import ModelRegistry, ModelVersion, Promotion

COLUMNS = ("product", "version", "alias", "registered", "dataset")
FIGURES = {
    "image_auroc": "image AUROC",
    "aupro": "AUPRO",
    "recall": "recall",
    "false_alarm_rate": "false alarms",
    "threshold": "threshold",
}
NOT_BETTER = 3
"""Exit status of `uad promote --if-better` where the version was not promoted, for scripts."""
COMPARISON_STOPPED = "Stopped. The champion has not changed. Run the same command again."
PAGES = 5
"""How many products' pages are listed at most."""

Name = Annotated[str, typer.Argument(help="The product, for example cookie.")]
Reason = Annotated[str, typer.Option(help="The reason. It is kept in the audit trail.")]
Actor = Annotated[str | None, typer.Option("--as", help="Who does this.", show_default="user@host")]
Alias = Annotated[
    str,
    typer.Option(help="The alias to set. champion: this version serves. challenger: it waits."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("register")(register_bundle)
    app.command()(models)
    app.command()(promote)
    app.command()(rollback)
    app.command()(ui)


def register_bundle(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder, as `uad train` writes it.")],
    name: Annotated[str, typer.Option(help="The product it belongs to.")],
    description: Annotated[
        str, typer.Option(help="One sentence about this version for the registry.")
    ] = "",
) -> None:
    """Register a bundle as the next version of a product.

    It serves only after it is promoted.

        uad register runs/cookie --name cookie
        uad promote cookie 1
    """
    from uad.bundle import read_bundle
    from uad.operations.evaluation import kept_figures
    from uad.registry import ModelRegistry

    figures = kept_figures(read_bundle(folder_to_change(bundle)).path)
    version = ModelRegistry().register(
        bundle, ProductName(name), description=description, metrics=figures
    )
    typer.echo(f"{name} version {version.version} ({version.address})")
    console().print(f"next: {shlex.join(['uad', 'promote', name, version.version])}")


def models(
    name: Annotated[
        str | None,
        typer.Argument(help="Show only this product, with the history of its champion."),
    ] = None,
) -> None:
    """List products, their versions, and which of them serve.

    The champion serves. A challenger waits for a decision.

        uad models
        uad models cookie
    """
    from uad.registry import ModelRegistry

    registry = ModelRegistry()
    products = registry.products() if name is None else [ProductName(name)]
    rows = [_row(version) for product in products for version in registry.versions(product)]
    if not rows:
        console().print(
            "There are no products yet. Train one: `uad retrain --data FOLDER --name NAME`"
        )
        return
    print_table("models", (*COLUMNS, *FIGURES.values()), rows)
    if name is not None:
        columns = ("when (UTC)", "from", "to", "how", "who", "why")
        print_table(f"champion of {name}", columns, map(_move, registry.history(ProductName(name))))


def promote(
    name: Name,
    version: Annotated[str, typer.Argument(help="The version number. `uad models` lists them.")],
    reason: Reason = "",
    actor: Actor = None,
    alias: Alias = "champion",
    if_better: Annotated[
        bool,
        typer.Option(
            "--if-better",
            help="Compare it with the champion on the same images first. Promote it only if the "
            "gate's rule passes, as in `uad retrain`.",
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="With --if-better: the stored dataset to compare on.",
            show_default="the one that the version was made of",
        ),
    ] = None,
    gate: Gate = None,
    recent: Recent = None,
) -> None:
    """Make a version the champion. Servers and following pipelines load it within seconds.

    uad records who, when, from, to and why. `uad rollback` undoes it.

    With [b]--if-better[/b] the gate decides. If it does not pass, the version becomes
    [b]challenger[/b] and the exit status is 3.

        uad promote cookie 2 --reason "fewer false alarms on line 3"
        uad promote cookie 2 --if-better
    """
    from uad.registry import ModelRegistry

    if if_better:
        if alias != "champion" or reason or actor:
            raise typer.BadParameter(
                "leave out --alias, --reason and --as: with --if-better the gate sets them"
            )
        _promote_if_better(ProductName(name), ModelVersionNumber(version), data, gate, recent)
        return
    if data or gate or recent:
        raise typer.BadParameter("--data, --gate and --recent need --if-better")
    product, number = ProductName(name), ModelVersionNumber(version)
    registry = ModelRegistry()
    _refuse_unusable(registry, product, number)
    made = registry.promote(product, number, alias=alias, reason=reason, actor=actor)
    if made.from_version == made.to_version:
        typer.echo(f"{name}: version {made.to_version} is already {alias}.")
    else:
        _say(made)


def _refuse_unusable(
    registry: "ModelRegistry", name: ProductName, version: ModelVersionNumber
) -> None:
    """Raise if the version is not a bundle: no server could load it."""
    known = registry.version(name, version)
    if known.bundle_sha256 is None:  # not registered by uad
        from uad.hot_reload import BundleStore

        BundleStore().ensure(known, registry.fetch)


def _promote_if_better(
    name: ProductName,
    version: ModelVersionNumber,
    data: str | None,
    gate: Path | None,
    recent: str | None,
) -> None:
    from uad.errors import DataError
    from uad.registry import ModelRegistry
    from uad.storage.names import place_of
    from uad.storage.paths import reports_dir

    known = ModelRegistry().version(name, version)
    if "champion" in known.aliases:
        typer.echo(f"{name}: version {version} is already champion.")
        return
    dataset = data or known.dataset
    if dataset is None:
        raise DataError(
            f"{name} version {version} does not say which dataset it was made of: name one with "
            "--data"
        )
    rule = gate_rule(gate)
    folder = place_of(reports_dir(), name) / (known.run_id or f"version-{version}")
    prepare_training()
    from flows.engine import running_flows

    with running_flows(COMPARISON_STOPPED, doing=f"Comparing on {dataset}"):
        from flows.promote import promote_flow

        promoted = promote_flow(
            name, version, DatasetAddress(dataset), str(folder), rule=rule, recent=_place(recent)
        )
    if not promoted:
        typer.echo(f"{name}: version {version} is now challenger. The champion has not changed.")
        raise typer.Exit(NOT_BETTER)
    typer.echo(f"{name}: version {version} is now champion.")


def _place(folder: str | None) -> str | None:
    return None if folder is None else str(Path(folder).expanduser().absolute())


def rollback(
    name: Name, reason: Reason = "", actor: Actor = None, alias: Alias = "champion"
) -> None:
    """Go back to the previous champion.

    Run it again to go back one more. Servers follow within seconds. Nothing is deleted.

        uad rollback cookie --reason "alarms on every part"
    """
    from uad.registry import ModelRegistry

    _say(ModelRegistry().rollback(ProductName(name), alias=alias, reason=reason, actor=actor))


def ui(
    host: Annotated[
        str, typer.Option(help="Address to listen on. 0.0.0.0 accepts other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 5000,
) -> None:
    """Open MLflow's pages with the runs and models of this project.

    It runs until Ctrl-C. If you move the alias champion there, the servers follow, and the move is
    recorded as external.

        uad ui --port 5001
    """
    from uad.registry import ModelRegistry
    from uad.registry.connection import tracking_uri

    uri = tracking_uri()
    shown = without_passwords(uri)
    if uri.startswith(("http://", "https://")):
        typer.echo(f"An MLflow server is already running (MLFLOW_TRACKING_URI). Open {shown}")
        typer.echo(f"Training runs: {training_page(shown)}")
        return
    require("flask")  # MLflow's pages; mlflow-skinny has none
    _check_port(host, port)
    experiments = ModelRegistry(uri).experiments()
    here = f"http://{host}:{port}"
    typer.echo(f"MLflow shows {shown}\nOpen {training_page(here)} (Ctrl-C stops it)")
    for name, experiment in list(experiments.items())[:PAGES]:
        typer.echo(f"  {name}: {training_page(here, experiment)}")
    typer.echo(
        "To compare figures there, choose them under Columns. `uad models NAME` shows them too."
    )
    sys.stdout.flush()
    command = ui_command(host, port)
    os.execve(command[0], command, ui_environment(uri, dict(os.environ)))


def training_page(server: str, experiment: str | None = None) -> str:
    """MLflow's page of all experiments, or of one experiment's runs. Its start page shows GenAI."""
    place = "" if experiment is None else f"/{experiment}/runs"
    return f"{server.rstrip('/')}/#/experiments{place}?workflowType=machine_learning"


def ui_command(host: str, port: int) -> list[str]:
    """How MLflow's own server is started: one worker starts in a third of the time of four."""
    return [
        sys.executable, "-m", "mlflow", "ui",
        "--host", host, "--port", str(port), "--workers", "1",
    ]  # fmt: skip


def ui_environment(uri: str, environment: dict[str, str]) -> dict[str, str]:
    """No telemetry and no job runner, which takes most of a minute and 2 GB to start.

    The database's address is passed here because all users can see the passwords in a command line.
    """
    given = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "1", **environment}
    return {**given, "MLFLOW_BACKEND_STORE_URI": uri}


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise RegistryError(
                f"Port {port} on {host} cannot be used ({exc.strerror}). Choose another with "
                "--port."
            ) from exc


def _say(move: "Promotion") -> None:
    typer.echo(
        f"{move.name}: version {move.to_version} is now {move.alias} (before: "
        f"{move.from_version or 'none'}; moved by {move.actor})"
    )


def _row(version: "ModelVersion") -> tuple[object, ...]:
    metrics = version.metrics
    return (
        version.name,
        version.version,
        ", ".join(version.aliases) or None,
        version.created.strftime("%Y-%m-%d %H:%M"),
        version.dataset,
        *(f"{metrics[name]:.4g}" if name in metrics else None for name in FIGURES),
    )


def _move(move: "Promotion") -> tuple[object, ...]:
    return (
        move.at.strftime("%Y-%m-%d %H:%M:%S"),
        move.from_version,
        move.to_version,
        move.kind,
        move.actor,
        move.reason or None,
    )
