"""How the server logs: for people, or one JSON object per line for machines."""

import contextlib
import logging
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import orjson

from serving.telemetry.background_writer import BackgroundWriter

MOST_LINES = 20_000


def set_up(level: str, form: Literal["text", "json"]) -> BackgroundWriter:
    """Log to standard error, in a thread of its own; close what is returned at the end."""
    writer = BackgroundWriter(most=MOST_LINES)
    _use(BackgroundHandler(writer), level, form)
    return writer


def set_up_engine(level: str) -> None:
    """Log one JSON object a line to standard error, which the front reads."""
    _use(logging.StreamHandler(sys.stderr), level, "json")


def _use(handler: logging.Handler, level: str, form: Literal["text", "json"]) -> None:
    words = "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter(words))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _write(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # closed: there is nowhere to say so
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class BackgroundHandler(logging.Handler):
    """Hands formatted lines to a writer, so a full pipe blocks nothing."""

    def __init__(self, writer: BackgroundWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        line = self.format(record)
        self._writer.offer("log lines", partial(_write, line), len(line))


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, message, and the facts of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
