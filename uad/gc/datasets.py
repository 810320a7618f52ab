"""Dataset versions that nobody refers to, and the files that only they used."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from uad.data.object_store import sweep, sweepable
from uad.data.versions import dataset_names, forget, history, read_version
from uad.gc.in_use import InUse
from uad.gc.retention import Removable, Retention


def dataset_items(
    in_use: InUse, rule: Retention, now: datetime, after: tuple[Removable, ...]
) -> Iterator[Removable]:
    """Versions that are not the newest ones and made no kept model or run; then their files.

    `after`: the models and runs that go, which may have been made of them.
    """
    referenced: set[str] = set()
    leaving: list[Removable] = []
    for name in dataset_names():
        log = history(name)
        stay = _staying(name, in_use, rule, now)
        for version in dict.fromkeys(row["version"] for row in log):
            if version in stay:
                images = read_version(f"{name}@{version}").images
                referenced |= {file.sha256 for image in images for file in image.files}
            else:
                remove = partial(forget, name, version, now - rule.in_use)
                leaving.append(Removable("dataset version", f"{name}@{version}", 0, remove, after))
    yield from leaving
    for file in sweepable(referenced, now - rule.in_use):
        remove = partial(sweep, file, now - rule.in_use)
        yield Removable("image file", file.name, file.stat().st_size, remove, (*after, *leaving))


def _staying(name: str, in_use: InUse, rule: Retention, now: datetime) -> set[str]:
    log = history(name)
    newest_first = list(dict.fromkeys(row["version"] for row in reversed(log)))
    recent = {
        row["version"] for row in log if datetime.fromisoformat(row["time"]) > now - rule.in_use
    }
    used = {version for version in newest_first if f"{name}@{version}" in in_use.datasets}
    return {*newest_first[: rule.keep], *recent, *used}
