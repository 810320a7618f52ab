"""`uad serve`, and `uad pin` and `uad api-key` for its administrator."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from uad.cli import MODEL_HELP
from uad.config.choices import ENGINE_NAMES, PRECISION_NAMES
from uad.storage.names import ModelVersionNumber, ProductName


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command()(pin)
    app.command("api-key")(api_key)


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help=f"{MODEL_HELP} OTHER=MODEL serves it under another name. Repeat it to serve "
            "several.",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on. 0.0.0.0 accepts other machines.", show_default="127.0.0.1"
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.", show_default="8080")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu:0, ...", show_default="cpu")] = None,
    engine: Annotated[
        str | None,
        typer.Option(help=f"auto, fastest, {ENGINE_NAMES}.", show_default="the fastest"),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help=f"{PRECISION_NAMES}.", show_default="the engine's own")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Engine processes.", show_default="one per core")
    ] = None,
    alpha: Annotated[
        list[str] | None,
        typer.Option(
            help="Target false alarm rate. NAME=RATE for one product; may be repeated.",
            show_default="the bundle's",
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            help="The score above which an image is anomalous, instead of --alpha. NAME=SCORE "
            "for one product; may be repeated.",
        ),
    ] = None,
    min_area: Annotated[
        list[str] | None,
        typer.Option(
            "--min-area",
            help="Smallest region that raises the alarm, in pixels. NAME=PIXELS for one product.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file with any setting of the server.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any setting by its dotted name, for example limits.pixels=8000000."
        ),
    ] = None,
) -> None:
    r"""Serve models over HTTP, always the version that was promoted last.

    Every few seconds the server asks the registry for the champion. It loads a new one beside the
    old one, checks that it gives the same scores here as in training, and swaps without losing a
    request. If a version fails, it is reported and the old one keeps serving.

    [b]Try it[/b]

        uad promote cookie 1
        uad serve --model cookie

        echo "{\"image\": \"$(base64 -w0 part.png)\"}" > body.json
        curl -s localhost:8080/image-anomaly-detection -d @body.json

    [b]Paths[/b]

        GET  /                          a page for people
        POST /image-anomaly-detection   judge an image
        POST /feedback                  say that a judged image is good or defective
        GET  /readyz                    whether to send requests, and why not
        GET  /openapi.json              everything else
    """
    from serving.run import run
    from serving.settings import ServerSettings
    from uad.config import load_settings

    given = {
        "models": model,
        "host": host,
        "port": port,
        "device": device,
        "engine": engine,
        "precision": precision,
        "workers": workers,
    }
    typed = [f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None]
    for setting, values in (("alpha", alpha), ("threshold", threshold), ("min_area", min_area)):
        typed += _per_product(setting, values or [])
    run(load_settings(ServerSettings, config, [*(overrides or []), *typed]))


def _per_product(setting: str, values: Sequence[str]) -> list[str]:
    """`0.5` for the whole server, `cookie=0.5` for one product, as settings."""
    typed = []
    for value in values:
        name, separator, own = value.rpartition("=")
        typed.append(f'products."{name}".{setting}={own}' if separator else f"{setting}={value}")
    return typed


def pin(
    name: Annotated[str, typer.Argument(help="The product, for example cookie.")],
    version: Annotated[
        str | None, typer.Argument(help="The version to stay on. Without it, the pin is shown.")
    ] = None,
    off: Annotated[
        bool, typer.Option("--off", help="Remove the pin: follow the registry again.")
    ] = False,
) -> None:
    """Keep this machine's servers on one version, even while the registry is down.

    This is a rollback without the registry: the last three versions that served are on this
    machine. Servers follow within seconds. Promotions are ignored until you remove the pin.

    [b]Try it[/b]

        uad pin cookie 3
        uad pin cookie
        uad pin cookie --off
    """
    from uad.hot_reload import pins

    product = ProductName(name)
    if off:
        was_pinned = pins.unpin(product)
        words = "again" if was_pinned else "(it was not pinned)"
        typer.echo(f"{name} follows the registry again {words}")
    elif version is not None:
        pins.pin(product, ModelVersionNumber(version))
        typer.echo(f"{name} stays on version {version} until it is unpinned.")
    else:
        local = ", ".join(pins.local_versions(product)) or "none"
        now = pins.pinned(product) or "nothing"
        typer.echo(f"pinned to: {now}; versions on this machine: {local}")


def api_key(
    name: Annotated[str, typer.Argument(help="Name of the user of the key, for example line4.")],
) -> None:
    """Make an API key. Its user gets the key, the server gets its hash.

    The key is shown once and not stored. Its user sends it as `Authorization: Bearer KEY`. Add the
    line with the hash to the file of `uad serve --set access.keys=FILE`. The file is read again
    when it changes. To revoke a key, remove its line.

    [b]Try it[/b]

        uad api-key line4 >> keys.txt
        uad serve --model cookie --set access.keys=keys.txt
    """
    from serving.api.access import new_key

    key, line = new_key(name)
    typer.echo(f"Key for {name}. It is shown only once: {key}", err=True)
    typer.echo(line)
