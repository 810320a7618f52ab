"""The texts about judged images: lines, CSV, JSON and file names.

`uad predict` and `uad client` say the same about the same image.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from uad.errors import ConfigError
from uad.scoring.regions import NO_ALARM, Region, Regions
from uad.scoring.zone_alpha import ZoneVerdict

COLUMNS = (
    "name",
    "score",
    "threshold",
    "p_value",
    "alpha",
    "requested_alpha",
    "verdict",
    "raised_by",
    "zones",
    "regions",
    "largest_box",
    "model_version",
    "error",
)
"""Of the CSV file. `largest_box` is x, y, width and height in pixels, with spaces between; `zones`
names those that raised the alarm, with `; ` between."""
_MAX_STEM_BYTES = 230
"""A file's name has at most 255; `-12345_res.jpeg` and the like come behind."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Verdict:
    """A model's verdict on one image, wherever it ran."""

    name: str
    is_anomalous: bool
    score: float
    threshold: float
    alpha: float
    requested_alpha: float | None
    """The rate asked for, if the calibration images can only guarantee the larger `alpha`."""
    shortfall: str
    """Why the rate asked for cannot be relied on, for a person; empty if it can. In no file."""
    p_value: float
    raised_by: str | None
    """What raised the alarm: `student`, `memory`, `whole image` or `zone NAME`; None: no alarm, or
    an older server that does not say."""
    zones: tuple[ZoneVerdict, ...]
    """Of the zones with an alpha of their own."""
    regions: Regions
    model_version: str
    warnings: tuple[str, ...]
    """Why the score may mean nothing; none from an older server or bundle."""
    extra: Mapping[str, Any]
    """More facts, for JSON alone."""

    @property
    def word(self) -> str:
        """`normal` or `anomalous`."""
        return "anomalous" if self.is_anomalous else "normal"

    @property
    def short_name(self) -> str:
        """The name as one line that can be printed."""
        return one_line(self.name)

    def line(self) -> str:
        """One line for a person."""
        count = self.regions.count
        raised = f"  by {self.raised_by}" if self.raised_by else ""
        marked = f"  {count} region{'s' if count > 1 else ''}" if count else ""
        if marked and not self.is_anomalous:
            marked += f" ({NO_ALARM})"
        return (
            f"{self.short_name}: {'ANOMALOUS' if self.is_anomalous else 'normal'}  "
            f"score {self.score:.6g}  threshold {self.threshold:.6g}  p {self.p_value:.4g}"
            f"{raised}{marked}  version {self.model_version}"
        )

    def as_json(self) -> str:
        """One line of JSON."""
        values = {
            "input": self.name.encode("utf-8", "replace").decode(),
            "is_anomalous": self.is_anomalous,
            "score": self.score,
            "threshold": self.threshold,
            "alpha": self.alpha,
            "requested_alpha": self.requested_alpha,
            "p_value": self.p_value,
            "raised_by": self.raised_by,
            "zones": [zone.as_json() for zone in self.zones],
            "regions": [region.as_json() for region in self.regions.listed],
            "regions_omitted": self.regions.omitted,
            "model_version": self.model_version,
            "warnings": list(self.warnings),
        }
        return json.dumps({**values, **self.extra})

    def as_row(self) -> list[str]:
        """The cells of `COLUMNS`."""
        largest = self.regions.largest
        return [
            self.name,
            f"{self.score:.9g}",
            f"{self.threshold:.9g}",
            f"{self.p_value:.9g}",
            f"{self.alpha:.9g}",
            "" if self.requested_alpha is None else f"{self.requested_alpha:.9g}",
            self.word,
            self.raised_by or "",
            "; ".join(zone.name for zone in self.zones if zone.is_anomalous),
            str(self.regions.count),
            _box(largest) if largest else "",
            self.model_version,
            "",
        ]


class VerdictFile:
    """A CSV file that gets a line for each image as soon as it is judged."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._writer = csv.writer(stream)
        self._write(COLUMNS)

    def add(self, verdict: Verdict) -> None:
        """Write the line of a judged image."""
        self._write(verdict.as_row())

    def add_error(self, name: str, reason: str) -> None:
        """Write the line of an image that was not judged."""
        empty = [""] * (len(COLUMNS) - 3)
        self._write([name, *empty[:5], "error", *empty[5:], reason])

    def _write(self, cells: Sequence[str]) -> None:
        numbers = ("score", "threshold", "p_value", "alpha", "requested_alpha", "regions")
        self._writer.writerow(
            [
                cell if column in numbers else spreadsheet_text(cell)
                for column, cell in zip(COLUMNS, cells, strict=True)
            ]
        )
        self._stream.flush()


@contextmanager
def verdict_file(file: Path | None) -> Iterator[VerdictFile | None]:
    """Open the CSV file for a run; None for None.

    An earlier file of verdicts is replaced; any other file is left alone.

    Raises:
        ConfigError: the file holds something else, or cannot be written.
    """
    if file is None:
        yield None
        return
    try:
        _refuse_foreign(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as exc:
        raise ConfigError(
            f"cannot write {file}: {exc.strerror or exc}; choose another --csv"
        ) from exc
    with stream:
        yield VerdictFile(stream)


def spreadsheet_text(text: str) -> str:
    """A text that a spreadsheet shows but does not run: formulas get a `'` in front."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def one_line(text: str) -> str:
    """The text as one line that can be printed; what cannot be is escaped, or `?` if not UTF-8."""
    shown = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


class FileNames:
    """File names of one run: `x`, then `x-2` for another image called x.

    A long name is cut, so that it and what is put behind it fit into 255 bytes.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, stem: str) -> str:
        """A name that no earlier image of the run has; letter case does not tell names apart."""
        stem = _cut(stem)
        name, number = stem, 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name.casefold())
        return name


def _cut(stem: str) -> str:
    while len(stem.encode("utf-8", "surrogatepass")) > _MAX_STEM_BYTES:
        stem = stem[:-1]
    return stem


def regions_of(listed: Iterable[Mapping[str, Any]], omitted: int) -> Regions:
    """The reverse of `Region.as_json`, for a whole image."""
    return Regions(tuple(_region(each) for each in listed), int(omitted))


def _region(value: Mapping[str, Any]) -> Region:
    x, y, width, height = (int(each) for each in value["box"])
    centre_x, centre_y = (float(each) for each in value["centre"])
    return Region(
        (x, y, width, height), int(value["area"]), float(value["score"]), (centre_x, centre_y)
    )


def _box(region: Region) -> str:
    return " ".join(str(value) for value in region.box)


def _refuse_foreign(file: Path) -> None:
    if not file.exists():
        return
    if file.is_dir():
        raise ConfigError(f"{file} is a folder: name a file for --csv, for example verdicts.csv")
    known = ",".join(COLUMNS[:4]).encode()  # later columns came with later releases
    with file.open("rb") as stream:
        start = stream.read(len(known))
    if start and start != known:
        raise ConfigError(
            f"{file} exists and does not hold verdicts: move it away or choose another --csv"
        )
