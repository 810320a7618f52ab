"""The scores of judged images, stored so that drift can be detected later.

    scores/<product>/<version>/2026-11-24.jsonl     one line an image: time, score, alarm,
                                                    the engine that judged it, the image's id

Lines are appended whole, so that several servers of one machine share a file.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from uad.storage.names import ModelVersionNumber, ProductName, place_of
from uad.storage.paths import scores_dir


@dataclass(frozen=True)
class LoggedScore:
    """One image that was judged."""

    at: datetime
    score: float
    is_anomalous: bool
    engine: str
    """`openvino/int8`: scores of one engine and precision are compared with its own calibration."""
    image: str = ""
    """The id under which the image may be kept; empty in what earlier versions wrote."""


class ScoreLog:
    """Appends and reads the scores of products; `root` is under UAD_HOME by default."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = scores_dir() if root is None else root

    def add(
        self,
        product: ProductName,
        version: ModelVersionNumber,
        engine: str,
        scores: Iterable[tuple[float, bool] | tuple[float, bool, str]],
        at: datetime | None = None,
    ) -> None:
        """Append (score, alarm, id) of each image of a request that `engine` judged."""
        at = at or datetime.now(UTC)
        lines = [
            json.dumps([at.timestamp(), score, int(alarm), engine, *image]) + "\n"
            for score, alarm, *image in scores
        ]
        file = self._folder(product, version) / f"{at.astimezone(UTC):%Y-%m-%d}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write("".join(lines))

    def read(
        self, product: ProductName, version: ModelVersionNumber, since: datetime
    ) -> list[LoggedScore]:
        """The scores from `since` on, oldest first; a line cut short by a crash is left out."""
        first = since.astimezone(UTC).date()
        found = [
            scored
            for file, day in self.files(product, version)
            if day >= first
            for scored in _lines(file)
            if scored.at >= since
        ]
        return sorted(found, key=lambda scored: scored.at)

    def of_answer(self, product: ProductName, log_id: str, since: datetime) -> list[LoggedScore]:
        """The images of one answer, whichever version judged them; empty if there are none."""
        first, start = since.astimezone(UTC).date(), log_id.encode()
        found = [
            scored
            for file in place_of(self.root, product).glob("*/*.jsonl")
            if (_day(file) or date.min) >= first and start in file.read_bytes()
            for scored in _lines(file)
        ]
        return [each for each in found if each.image.partition(".")[0] == log_id]

    def files(
        self, product: ProductName, version: ModelVersionNumber
    ) -> Iterator[tuple[Path, date]]:
        """The days' files of a version, oldest first."""
        for file in sorted(self._folder(product, version).glob("*.jsonl")):
            if (day := _day(file)) is not None:
                yield file, day

    def _folder(self, product: ProductName, version: ModelVersionNumber) -> Path:
        return place_of(self.root, product) / version


def _day(file: Path) -> date | None:
    """The day that a file is named after; None of a file that is somebody else's."""
    try:
        return date.fromisoformat(file.stem)
    except ValueError:
        return None


def _lines(file: Path) -> Iterator[LoggedScore]:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            at, score, alarm, engine, *image = json.loads(line)
            when = datetime.fromtimestamp(at, UTC)
            yield LoggedScore(when, float(score), bool(alarm), str(engine), *map(str, image[:1]))
        except (ValueError, TypeError):
            continue
