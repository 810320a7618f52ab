"""`uad config`: the settings files that come with uad."""

from typing import Annotated

import typer

from uad.console import print_table


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_group)
    group.command("list")(list_)
    group.command()(show)
    app.add_typer(group, name="config")


def _group() -> None:
    """Show the settings files that come with uad."""


def list_() -> None:
    """List the settings files that come with uad, and what each is for.

    You can use each name instead of a file: `--config training/demo`.

        uad config list
    """
    from uad.config.loading import shipped_names, shipped_text

    rows = [(name, _purpose(shipped_text(name))) for name in shipped_names()]
    print_table("settings that come with uad", ("name", "what it is for"), rows)


def show(
    name: Annotated[
        str, typer.Argument(help="A name from `uad config list`, such as training/demo.")
    ] = "training",
) -> None:
    """Print a settings file that comes with uad.

    Read it, or write a copy to a file, change it there, and use it with --config.

        uad config show gate
        uad config show training/default
        uad config show training/default > mine.yaml
        uad retrain --data photos --name cookie --config mine.yaml
    """
    from uad.config.loading import shipped_text

    typer.echo(shipped_text(name), nl=False)


def _purpose(text: str) -> str:
    """The first sentence of the comment that a file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".:")
