"""The command line: `uad COMMAND`, and PaddleX's flags on `uad` itself.

Each module of this package adds the commands of one area; nothing heavy is imported before a
command runs.
"""

import importlib
import inspect
import os
import pkgutil
import re
import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer

from uad import __version__
from uad.console import console, silence_closed_pipes
from uad.errors import ConfigError, UadError, extras
from uad.errors.redaction import clean_log_records, without_passwords
from uad.network import spare_loopback
from uad.processes import end_without_delay
from uad.storage.paths import DISK_ERRORS, check_writable, database_error, disk_error, home

OTHER_BRACKET = re.compile(r"\[(?!/?b\])")
"""In a help only `[b]` and `[/b]` are markup."""
OWN = ("uad", "flows", "serving")
HELP = """Find defects with pictures of good parts only.

Typical order: [b]ingest[/b] a folder of good images, [b]train[/b], [b]evaluate[/b],
[b]register[/b], [b]promote[/b], [b]serve[/b]. [b]retrain[/b] does the first five in one run.
[b]demo[/b] does everything on generated images.

All data is stored under UAD_HOME (default: .uad in the working directory).
"""
MODEL_HELP = (
    "A bundle's folder, a product's name (its champion), or models:/NAME@ALIAS, models:/NAME/3."
)


def build() -> typer.Typer:
    """The whole command-line application."""
    app = typer.Typer(
        name="uad",
        help=HELP,
        rich_markup_mode="rich",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for area in pkgutil.iter_modules(__path__):
        importlib.import_module(f"uad.cli.{area.name}").register(app)
    if app.registered_callback is None:
        app.callback()(_root)
    _fit_help(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run `uad`. An error that the user can fix is printed in one line, with exit status 1."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments or os.environ.get("UAD_DEBUG") == "1"
    arguments = [argument for argument in arguments if argument != "--debug"]
    clean_log_records()
    spare_loopback()
    end_without_delay()
    try:
        build()(arguments, prog_name="uad")
    except UadError as exc:
        if debug:
            raise
        _fail(str(exc))
    except KeyboardInterrupt:
        if debug:
            raise
        _fail("interrupted", status=130)
    except BrokenPipeError:
        silence_closed_pipes()
    except Exception as exc:  # users see no traceback unless they ask for it
        if debug:
            raise
        told = (
            f"Unexpected error ({type(exc).__name__}): {exc}. Run the command again with "
            "--debug to see where it happened."
        )
        _fail(_explained(exc) or told)
    finally:
        silence_closed_pipes()


def _explained(exc: Exception) -> str | None:
    """What the user can do about another library's error; None if it must be a bug."""
    if isinstance(exc, OSError) and exc.errno in DISK_ERRORS:
        return str(disk_error(exc))
    if isinstance(exc, sqlite3.Error) and (told := database_error(str(exc))) is not None:
        return str(told)
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        return extras.cure(exc.name) if exc.name.partition(".")[0] not in OWN else None
    return None


def prepare_training(*modules: str, folder: Path | None = None) -> None:
    """Check at once what would stop a training later: a missing package, a full disk.

    Args:
        modules: what it needs besides what every training does.
        folder: where it writes besides UAD_HOME.
    """
    extras.require(
        "mlflow", "prefect", "psutil", "sklearn", "scipy", "matplotlib", "onnx", *modules
    )
    for place in (home(), *([folder] if folder else [])):
        check_writable(place)


def place_of_model(model: str, *, also: str = "") -> str:
    """The bundle's folder or the address that a command's model stands for.

    Says which version is taken where the bare name of a product is given. `also`: see
    `uad.registry.named_model`.
    """
    from uad.registry import ModelRegistry, named_model

    registry = ModelRegistry()
    found = named_model(model, registry, also=also)
    if found.remark:
        console().print(found.remark)
    if found.product is None:
        return found.place
    version = registry.resolve(found.place)
    console().print(f"{found.product}: version {version.version}, the champion")
    return version.address


def folder_to_change(bundle: Path) -> Path:
    """A bundle's folder, for a command that a registered version cannot be given to.

    Raises:
        ConfigError: it is a registered model, or nothing that there is.
    """
    from uad.registry import ModelRegistry, named_model
    from uad.registry.named_model import is_bundle

    if not is_bundle(bundle):
        named_model(str(bundle), ModelRegistry())
        raise ConfigError(
            f"{bundle} is a registered model, and a registered version never changes. Give the "
            "folder of a bundle: `uad train` and `uad retrain` print the one that they write."
        )
    return bundle


def show_version(asked: bool) -> None:
    """Print the version and stop, when asked."""
    if asked:
        typer.echo(f"uad {__version__}")
        raise typer.Exit


def _fit_help(app: typer.Typer) -> None:
    """Let the terminal wrap the commands' help instead of keeping the source's line breaks."""
    for command in app.registered_commands:
        text = command.help or (command.callback and command.callback.__doc__)
        if text:
            shown = "\n\n".join(map(_one_line, inspect.cleandoc(text).split("\n\n")))
            command.help = OTHER_BRACKET.sub(r"\\[", shown)
    for group in app.registered_groups:
        if group.typer_instance:
            _fit_help(group.typer_instance)


def _one_line(paragraph: str) -> str:
    return paragraph if paragraph.startswith((" ", "-")) else " ".join(paragraph.split())


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Commands only; PaddleX's flags are added by `uad.cli.predict`."""


def _fail(message: str, status: int = 1) -> None:
    line = " ".join(without_passwords(message).split())
    typer.secho(f"error: {line}", fg="red", err=True)
    raise SystemExit(status)
