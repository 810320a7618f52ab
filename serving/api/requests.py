"""From a request's body, JSON or form (`curl -F`), to the images and options it names."""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from pydantic import ValidationError
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.api.schemas import Options
from serving.workers.messages import Job
from uad.errors import RequestRefused

Source = str | bytes
"""Base64 text or a URL; or the bytes of an uploaded file."""

WANTED = {
    "image": "an image file as base64 text",
    "images": "a list of image files as base64 text",
    "visualize": "true or false",
    "labelMap": '"array", "rle" or "png"',
    "alpha": "a number between 0 and 1",
    "threshold": "a finite number",
    "minArea": "a whole number of pixels, 0 or more",
}
FORM = "multipart/form-data"
MOST_PARTS = 1000
broken = partial(RequestRefused, 400, "the multipart body is broken or incomplete")


@dataclass(frozen=True)
class Parsed:
    """What a request asks."""

    sources: tuple[Source, ...]
    options: Options


def parse(job: Job, most_images: int) -> Parsed:
    """Read a body, JSON or a form.

    Raises:
        RequestRefused: 400 it cannot be read, 413 too many images, 422 a field is missing, unknown
            or wrong; in our own words, by the field's name.
    """
    name = "images" if job.many else "image"
    if is_multipart(job.content_type):
        values = _from_form(parse_multipart(bytes(job.body), job.content_type), name)
    else:
        values = _from_json(bytes(job.body), name)
    sources = _sources(values.pop(name, None), name)
    if len(sources) > most_images:
        raise RequestRefused(
            413, f"{len(sources)} images in one request; send at most {most_images}"
        )
    return Parsed(sources, _options(values, name))


def _from_json(body: bytes, name: str) -> dict[str, Any]:
    example = f'{{"{name}": {"[...]" if name == "images" else chr(34) + "<base64>" + chr(34)}}}'
    if body.startswith(b"\x1f\x8b"):
        raise compressed_body("gzip")
    try:
        values = orjson.loads(_utf8(body))
    except ValueError as exc:
        raise RequestRefused(400, f"the request body is not valid JSON; send {example}") from exc
    if not isinstance(values, dict):
        raise RequestRefused(422, f"the body must be a JSON object like {example}")
    return values


def compressed_body(encoding: str) -> RequestRefused:
    """The refusal of a body that is compressed."""
    return RequestRefused(
        415, f"the request body is compressed ({encoding}); send it without Content-Encoding"
    )


def _utf8(body: bytes) -> bytes:
    """The body without byte order mark; UTF-16, as some Windows tools write, becomes UTF-8."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16").encode()
    return body.removeprefix(codecs.BOM_UTF8)


def _from_form(fields: Mapping[str, Sequence[Any]], name: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, given in fields.items():
        if field == name == "images":
            values[field] = list(given)
        elif len(given) > 1:
            raise RequestRefused(422, "a field of the form is given twice")
        else:
            values[field] = given[0]
    return values


def _sources(value: Any, name: str) -> tuple[Source, ...]:
    given = value if name == "images" else [value]
    if value is None:
        raise RequestRefused(422, f"'{name}' is missing: it must be {WANTED[name]}")
    usable = isinstance(given, list) and all(isinstance(each, Source) and each for each in given)
    if not usable or not given:
        raise RequestRefused(422, f"'{name}' must be {WANTED[name]}")
    return tuple(given)


def _options(values: dict[str, Any], name: str) -> Options:
    try:
        options = Options.model_validate(values)
    except ValidationError as exc:
        raise RequestRefused(422, _sentence(exc, name)) from exc
    if options.alpha is not None and options.threshold is not None:
        raise RequestRefused(422, "give alpha or threshold, not both")
    return options


def _sentence(exc: ValidationError, name: str) -> str:
    error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    field = str(error["loc"][0])
    known = [each for each in WANTED if each == name or not each.startswith("image")]
    if error["type"] == "extra_forbidden" or field not in known:
        return f"unknown field; known are {', '.join(known)}"
    return f"'{field}' must be {WANTED[field]}"


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
