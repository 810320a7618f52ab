"""How the server logs: for people, or one JSON object a line for machines."""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson


def set_up(level: str, form: Literal["text", "json"]) -> None:
    """Log to standard error; called once, by the program that runs the server."""
    handler = logging.StreamHandler(sys.stderr)
    words = "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter(words))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, message, and the facts of a request."""

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
