"""What the command line shows people: one console on standard error, tables on standard output."""

import os
import select
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from uad.errors.redaction import without_passwords

LINE_SECONDS = 30.0
"""Without a terminal, long work says in a line how far it is, this far apart at least."""
_WIDE = 10_000
"""Columns where no terminal limits them, so that nothing breaks a path in a file or a pipe."""
_CELL = 100
"""Then text in a table wraps between words at this width. A longer word, or a path, stays whole."""


class PlainConsole(Console):
    """Shows text as it is: `[a]` and `:b:` in it are a user's, never markup.

    Passwords in addresses are hidden.
    """

    def __init__(
        self, *, stderr: bool = False, soft_wrap: bool = False, file: IO[str] | None = None
    ) -> None:
        super().__init__(
            stderr=stderr,
            file=file,
            soft_wrap=soft_wrap,
            markup=False,
            emoji=False,
            highlight=False,
        )
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = _WIDE

    def render_str(self, text: str, **options: Any) -> Text:
        """The text that is shown for a string."""
        return super().render_str(without_passwords(text), **options)

    def on_broken_pipe(self) -> None:
        """Ends the command quietly: nobody reads what it prints."""
        self.quiet = True
        silence_closed_pipes()
        raise SystemExit(1)


def silence_closed_pipes() -> None:
    """Drop output that nobody reads any more, as after `uad retrain | head`.

    Otherwise work at the end of the process would fail at its first output, for example stopping
    the server that Prefect started.
    """
    for descriptor in (1, 2):
        watched = select.poll()
        watched.register(descriptor, 0)
        if any(event & select.POLLERR for _, event in watched.poll(0)):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def console() -> Console:
    """For progress and remarks; standard error, so that results can be piped."""
    return PlainConsole(stderr=True, soft_wrap=True)


def progress_bar(unit: str, *, visible: bool = True) -> Progress:
    """A progress bar with a count of `unit` ("images"), the time left and a free `note` field.

    Without a terminal it is a line now and then.
    """
    screen = PlainConsole(stderr=True)
    if visible and not screen.is_terminal:
        return ProgressLines(unit, screen)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=screen,
        disable=not visible,
    )


@contextmanager
def step(told: str, *, visible: bool = True) -> Iterator[None]:
    """Say what is done now, where nothing can be counted.

    A moving bar that vanishes afterwards; without a terminal, a line.
    """
    screen = PlainConsole(stderr=True)
    if visible and not screen.is_terminal:
        screen.print(told)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        console=screen,
        disable=not (visible and screen.is_terminal),
        transient=True,
    )
    with bar:
        bar.add_task(told, total=None)
        yield


class ProgressLines(Progress):
    """Prints the progress as one line, at most every `LINE_SECONDS`: for logs and pipes."""

    def __init__(
        self, unit: str, screen: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(console=screen, disable=True, get_time=clock)
        self._unit = unit
        self._clock = clock
        self._said = clock()

    def update(self, task_id: TaskID, *args: Any, **kwargs: Any) -> None:
        """As of `Progress`; says it when it is time."""
        super().update(task_id, *args, **kwargs)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As of `Progress`; says it when it is time."""
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        if self._clock() - self._said < LINE_SECONDS:
            return
        self._said = self._clock()
        task = next((task for task in self.tasks if task.id == task_id), None)
        if task is not None:
            self.console.print(_line(task, self._unit))


def _line(task: Task, unit: str) -> str:
    total = "" if task.total is None else f" of {task.total:g}"
    left = "" if not task.time_remaining else f", about {_duration(task.time_remaining)} left"
    note = f" ({task.fields['note']})" if task.fields.get("note") else ""
    return f"{task.description}: {task.completed:g}{total} {unit}{left}{note}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print `rows` under `columns` on standard output; figures are aligned by their column."""
    out = PlainConsole()
    body = [list(row) for row in rows]
    table = Table()
    for index, column in enumerate(columns):
        cells = [column, *(row[index] for row in body)]
        widest = _cell_width(cells) if out.width == _WIDE else None
        table.add_column(column, overflow="fold", max_width=widest)  # a cut path cannot be used
    for row in body:
        table.add_row(*(_text(value) for value in row))
    out.print(title, style="italic")  # a table's own title wraps at its width
    out.print(table)


def _cell_width(cells: Iterable[object]) -> int:
    """Columns that break no word and no path."""
    whole = (
        [str(cell)] if isinstance(cell, Path) else without_passwords(_text(cell)).split() or [""]
        for cell in cells
    )
    return max(_CELL, *(cell_len(piece) for pieces in whole for piece in pieces))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
