"""Read a `multipart/form-data` body, as HTML forms and `curl -F` send it."""

from functools import partial
from typing import Any

import orjson
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from uad.errors import RequestRefused

FORM = "multipart/form-data"
MOST_PARTS = 1000
broken = partial(RequestRefused, 400, "the multipart body is broken or incomplete")


def is_multipart(content_type: str) -> bool:
    """Whether a Content-Type announces a form."""
    return content_type.lower().lstrip().startswith(FORM)


def parse_multipart(body: bytes, content_type: str) -> dict[str, list[Any]]:
    """The fields of a form: files as bytes, other values as the JSON they look like, or as text.

    Raises:
        RequestRefused: 400, it is broken, or 413, it has too many parts.
    """
    _, options = parse_options_header(content_type)
    form = _Form()
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())
        parser.write(body)
        parser.finalize()
    except (KeyError, MultipartParseError, ValueError) as exc:
        raise broken() from exc
    if not form.is_whole:
        raise broken()
    return form.fields


class _Form:
    """Collects parts as the parser finds them."""

    def __init__(self) -> None:
        self.fields: dict[str, list[Any]] = {}
        self.is_whole = False
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value, self._data = b"", b"", bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._add("_name", data[start:end]),
            "on_header_value": lambda data, start, end: self._add("_value", data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._whole,
        }

    def _begin(self) -> None:
        self._headers, self._data = {}, bytearray()

    def _add(self, where: str, text: bytes) -> None:
        setattr(self, where, getattr(self, where) + text)

    def _header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        data = bytes(self._data)
        values = self.fields.setdefault(name, [])
        values.append(data if b"filename" in options else _plain(data))
        if sum(map(len, self.fields.values())) > MOST_PARTS:
            raise RequestRefused(413, f"the form has more than {MOST_PARTS} parts")

    def _whole(self) -> None:
        self.is_whole = True


def _plain(data: bytes) -> Any:
    """`true`, `0.05` and `null` as such, everything else as text."""
    try:
        return orjson.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")
