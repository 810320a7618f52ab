"""The log of a run: its own lines, and a user's error in one line."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from uad.errors import UadError
from uad.errors.redaction import clean_log_records

logger = logging.getLogger("flows")
ENGINE_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def prepare() -> None:
    """Let the flows' lines through, without passwords or tracebacks that a user does not need."""
    clean_log_records()
    logger.setLevel(logging.INFO)
    for name in ENGINE_LOGGERS:
        logging.getLogger(name).addFilter(_without_traceback)


@contextmanager
def on_screen() -> Iterator[None]:
    """For a command that runs a flow itself: the flows' lines as they are, none of the engine's.

    The command shows the error that ends the run; Prefect keeps its own lines in its database.
    """
    screen, others = _Screen(), list(logging.getLogger().handlers)
    logger.addHandler(screen)
    logger.propagate = False
    for handler in others:
        handler.addFilter(_not_the_engine)
    try:
        yield
    finally:
        logger.removeHandler(screen)
        logger.propagate = True
        for handler in others:
            handler.removeFilter(_not_the_engine)


def tell(lines: Iterable[str]) -> None:
    """Log each line."""
    for line in lines:
        logger.info("%s", line)


class _Screen(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from uad.console import console

        console().print(record.getMessage())


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], UadError):
        record.exc_info = record.exc_text = None
    return True


def _not_the_engine(record: logging.LogRecord) -> bool:
    return not record.name.startswith("prefect")
