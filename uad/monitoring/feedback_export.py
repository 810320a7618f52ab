"""Write the images that people said something about to a folder, for other tools and eyes."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from uad.errors import DataError
from uad.monitoring.feedback import Opinion
from uad.monitoring.judged_images import JudgedImages
from uad.scoring.verdicts import spreadsheet_text
from uad.storage.atomic_writes import assembling

COLUMNS = (
    "path",
    "label",
    "kind",
    "judged",
    "score",
    "threshold",
    "version",
    "who",
    "when",
    "note",
)

Row = tuple[object, ...]


def export(store: JudgedImages, found: Iterable[Opinion], folder: Path) -> Path:
    """Write `good/`, `defective/` and `disagreement/`, and two tables of what was said.

    `manifest.csv` names the images on which people agree; `uad ingest` reads it.
    `disagreements.csv` names the others.

    Raises:
        DataError: the folder is there and holds something, or an image cannot be read.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty: choose another folder with --output")
    agreed: list[Row] = []
    disputed: list[Row] = []
    with assembling(folder) as new:
        for opinion in found:
            kept = opinion.image
            place = Path(opinion.said or "disagreement") / f"{kept.id}{kept.suffix}"
            (new / place).parent.mkdir(exist_ok=True)
            (new / place).write_bytes(store.content(kept))
            (agreed if opinion.said else disputed).append(_row(opinion, place))
        (new / "manifest.csv").write_text(_table(agreed), encoding="utf-8")
        if disputed:
            (new / "disagreements.csv").write_text(_table(disputed), encoding="utf-8")
    return folder


def _row(opinion: Opinion, place: Path) -> Row:
    kept, words = opinion.image, opinion.last_words
    return (
        place.as_posix(),
        opinion.said or "",
        opinion.kind,
        "alarm" if kept.is_anomalous else "good",
        kept.score,
        kept.threshold,
        kept.version,
        spreadsheet_text("; ".join(f"{word.author}: {word.said}" for word in words)),
        words[-1].at.isoformat(timespec="seconds"),
        spreadsheet_text("; ".join(word.note for word in words if word.note)),
    )


def _table(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()
