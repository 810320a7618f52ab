"""Download a weight file once: resumed, checked, shared by runs that need it at the same time."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
from filelock import FileLock
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from uad.console import console
from uad.errors import TeacherError
from uad.network import http_client

_LARGEST_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Source:
    """A file to fetch and what it must be."""

    url: str
    name: str
    """Of the cached file."""
    md5: str
    sha256: str | None = None
    """None: unknown beforehand; then pinned beside the cached file when it is first fetched."""


@dataclass(frozen=True)
class RetrySettings:
    """The limits for a bad network."""

    connect_seconds: float = 10.0
    silence_seconds: float = 20.0
    """Without one byte."""
    attempts: int = 5
    """Attempts in a row without any data; an attempt with data resets the count."""
    pause_seconds: float = 1.0
    """Before the second attempt; doubled before each further one."""


class OnBytes(Protocol):
    """Told of the bytes on disk and of the file's size, None while unknown."""

    def __call__(self, done: int, total: int | None) -> None:
        """Show it."""


IMAGENET = Source(
    url="https://paddle-hapi.bj.bcebos.com/models/resnet18.pdparams",
    name="resnet18.pdparams",
    md5="cf548f46534aa3560945be4b95cd11c4",
)
"""Paddle's official ResNet-18. Paddle publishes its md5 alone; its sha256 is pinned on first use,
or set beforehand by UAD_TEACHER_SHA256."""


def fetch(
    source: Source,
    folder: Path,
    *,
    patience: RetrySettings = RetrySettings(),
    on_bytes: OnBytes | None = None,
) -> Path:
    """The file of `source` in `folder`, downloaded unless a good copy is there already.

    Proxies come from the usual variables (HTTPS_PROXY, NO_PROXY, ...). Runs that want the file at
    the same time wait for the first one's download.

    Raises:
        TeacherError: it cannot be had or is not what it should be; names file, address and cure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.name
    with FileLock(folder / f"{source.name}.lock"):
        if target.is_file() and _problem(target, source) is None:
            return target
        part = folder / f"{source.name}.part"
        _download(source, part, target, patience, on_bytes or _silent)
        problem = _problem(part, source, pinned=_pin(target))
        if problem is not None:
            part.unlink()
            raise _error(source, target, problem)
        _pin_file(target).write_text(hash_of(part, "sha256") + "\n", encoding="utf-8")
        part.replace(target)
    return target


def verify(source: Source, target: Path) -> str | None:
    """What is wrong with a downloaded file: md5, sha256, or the pinned sha256; None if nothing."""
    return _problem(target, source)


def hash_of(file: Path, algorithm: str) -> str:
    """Hex digest of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _problem(file: Path, source: Source, pinned: str | None = None) -> str | None:
    if hash_of(file, "md5") != source.md5:
        return f"its md5 is not {source.md5}"
    expected = source.sha256 or pinned or _pin(file)
    if expected and hash_of(file, "sha256") != expected:
        return f"its sha256 is not {expected}"
    return None


def _pin_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _pin(target: Path) -> str | None:
    try:
        return _pin_file(target).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def _download(
    source: Source, part: Path, target: Path, patience: RetrySettings, on_bytes: OnBytes
) -> None:
    """Download the rest of `part`, from where the last attempt stopped."""
    fruitless, pause = 0, patience.pause_seconds
    while True:
        before = _size(part)
        try:
            return _attempt(source.url, part, patience, on_bytes)
        except httpx.HTTPStatusError as exc:
            status = exc.response.status_code
            if status < 500:
                raise _error(source, target, f"the server answered {status}") from exc
            reason = f"the server answered {status}"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            reason = str(exc) or type(exc).__name__
        fruitless = 0 if _size(part) > before else fruitless + 1
        if fruitless >= patience.attempts:
            raise _error(source, target, reason)
        if fruitless:
            time.sleep(pause)
            pause *= 2


def _attempt(url: str, part: Path, patience: RetrySettings, on_bytes: OnBytes) -> None:
    have = _size(part)
    timeout = httpx.Timeout(patience.silence_seconds, connect=patience.connect_seconds)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with (
        http_client(timeout=timeout, follow_redirects=True) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return  # complete before it was interrupted
            part.unlink()
            raise httpx.ReadError("the file on the server has changed")
        response.raise_for_status()
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        _append(response, part, have if resumed else 0, on_bytes)


def _append(response: httpx.Response, part: Path, have: int, on_bytes: OnBytes) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    with part.open("r+b" if have else "wb") as stream:
        stream.seek(have)
        for chunk in response.iter_raw():
            stream.write(chunk)
            have += len(chunk)
            if have > _LARGEST_BYTES:
                raise OSError(
                    f"more than {_LARGEST_BYTES} bytes were received, so this is not the file"
                )
            on_bytes(have, total)
        stream.flush()
        os.fsync(stream.fileno())


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _error(source: Source, target: Path, reason: str) -> TeacherError:
    return TeacherError(
        f"{source.name} could not be fetched from {source.url}: {reason}. Use --teacher embedded, "
        f"set UAD_TEACHER_URL to a mirror, or copy the file to {target}."
    )


def _silent(done: int, total: int | None) -> None:
    """Show nothing."""


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
