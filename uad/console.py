"""What the command line shows people: one console on standard error, tables on standard output."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


def console() -> Console:
    """For progress and remarks; standard error, so that results can be piped."""
    return Console(stderr=True)


def progress_bar(*, visible: bool = True) -> Progress:
    """A progress bar with a count, the time left and a free `note` field."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console(),
        disable=not visible,
    )


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print `rows` under `columns` on standard output; figures are aligned by their column."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")  # a path cut short is no use
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    out = Console()
    out.print(title, style="italic", markup=False)  # a table's own title wraps at its width
    out.print(table)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
