"""Passwords are taken out of what uad prints, logs, raises and stores.

Addresses carry them: `postgresql://user:password@host/mlflow`, `https://host/x?token=...`. An
address may also come back from a library, so errors (`UadError`), the console and the log all pass
through `without_passwords`.
"""

import logging
import os
import re
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
SHORTEST = 5
"""Shorter passwords are hidden only in addresses: other texts may contain the same letters."""
_PREFIXES = ("MLFLOW_", "PREFECT_", "UAD_")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#\"'<>]+@")
_QUERY = re.compile(
    r"(?i)([?&;][\w.-]*(?:password|passwd|pwd|token|secret|access_?key|api_?key|sig|signature"
    r"|credential)=)[^&;\s\"'<>]+"
)


def without_passwords(text: str) -> str:
    """`text` with `***` for user and password of each address in it, and for keys in queries.

    Passwords of the addresses in the environment are found without their address too: libraries
    name a part that they cannot read.
    """
    for userinfo in _of_environment():
        text = text.replace(f"{userinfo}@", f"{HIDDEN}@")
        password = userinfo.partition(":")[2]
        for part in (password, unquote(password), *re.split("[/?#]", password)):
            if len(part) >= SHORTEST:
                text = text.replace(part, HIDDEN)
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", text))


def _of_environment() -> Iterator[str]:
    """`user:password` of the addresses in the environment, also where a `/` in it is not quoted."""
    for name, value in os.environ.items():
        if name.startswith(_PREFIXES):
            scheme, separator, rest = value.partition("://")
            userinfo = rest.rpartition("@")[0]
            if scheme and separator and ":" in userinfo:
                yield userinfo


def clean_log_records() -> None:
    """From now on no log line of this process holds a password, whichever library writes it."""
    before = logging.getLogRecordFactory()
    if getattr(before, "cleans", False):
        return

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return _cleaned(before(*args, **kwargs))

    made.cleans = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(made)


def _cleaned(record: logging.LogRecord) -> logging.LogRecord:
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # the handler that formats it will say so
        return record
    if (clean := without_passwords(message)) != message:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[0] is not None:
        text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (clean := without_passwords(text)) != text:
            record.exc_text = clean
    return record
