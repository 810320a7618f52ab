"""The bar of a download."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from uad.console import console
from uad.models.teacher.download import OnBytes


@contextmanager
def download_bar(name: str, *, visible: bool) -> Iterator[OnBytes]:
    """A bar on standard error that appears with the first byte."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), disable=not visible) as bar:
        task = bar.add_task(name, total=None, visible=False)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield show
