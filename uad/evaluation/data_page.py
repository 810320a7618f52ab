"""The page of a dataset version: what it holds, what the checks found, with pictures."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uad import images
from uad.data import DatasetVersion, Problem, Sample
from uad.data.listing import FolderUse, together
from uad.data.quarantine import Quarantined
from uad.data.samples import GOOD
from uad.errors import DataError
from uad.evaluation.gallery import masked, tile
from uad.evaluation.pages import Captioned, Card, Tile, render, write_page
from uad.storage.names import place_of
from uad.storage.paths import reports_dir

MEANINGS = {
    "broken": "cannot be decoded; left out",
    "missing": "listed, but not there; left out",
    "unfinished": "the file was still being written; left for the next ingest",
    "conflict": "the same file is labelled good and defective; kept; correct one",
    "leak": (
        "the same file or capture is in train and test; kept; the measured figures look "
        "better than they are"
    ),
    "similar": (
        "a test image is nearly a training image; kept; the measured figures may look "
        "better than they are"
    ),
    "copy": (
        "good images are copies of one another; kept; good parts may raise more false alarms "
        "than asked for"
    ),
    "fewer": "less than half of the good images of the version before; are some missing?",
    "moved": "a defective image was listed for training; used for testing",
    "mask": (
        "missing, damaged, empty, of another size, marking more than half, or perhaps drawn on an "
        "unturned picture; see each"
    ),
    "unused": "pictures that are not used: no folder or file name says what they are",
    "folders": "how the folders were understood; if that is wrong, say what they hold",
    "clock": "the file's time is in the future; used, because its age is not known",
    "duplicate": "the same file twice in one split; used once",
    "size": "far from the other images' size; kept",
    "brightness": "far from the other good images' mean grey level; kept",
    "blank": "all of one colour; kept",
    "flat": "only a few flat colours, as masks have; kept",
    "frames": "several pictures in one file; the first is used",
    "dark": "16-bit with at most 12 bits used; kept",
}
"""By kind of problem, the worst first."""
_FOLDERS = 50
"""Rows of the table of folders; if there are more, those with one use share a row."""
SHOWN = 12
"""Pictures of a kind."""
_UNSEEN = ("broken", "missing", "unfinished", "unused", "folders", "clock", "fewer")


def write_dataset_page(
    version: DatasetVersion,
    problems: Sequence[Problem],
    aside: Sequence[Quarantined] = (),
    file: Path | None = None,
) -> Path:
    """Write the page of a stored version; returns its file.

    Args:
        version: its images are read from the store.
        problems: what the checks found; their files are shown where they still are.
        aside: the dataset's quarantine.
        file: under `UAD_HOME` unless named.
    """
    file = file or page_file(version.name, version.version)
    return write_page(file, dataset_page(version, problems, aside))


def page_file(name: str, version: str) -> Path:
    """Where the page of a version lies, if one was written and no other place named."""
    return place_of(reports_dir(), name) / f"data-{version}.html"


def dataset_page(
    version: DatasetVersion, problems: Sequence[Problem], aside: Sequence[Quarantined] = ()
) -> str:
    """The page as HTML."""
    counts = Counter(problem.kind for problem in problems)
    found = [kind for kind in MEANINGS if kind in counts]
    return render(
        "dataset.html",
        title=f"Images of {version.name}",
        subtitle=f"version {version.version}, stored {version.created:%Y-%m-%d %H:%M} UTC, "
        f"from {version.source}",
        cards=_cards(version, len(problems)),
        findings=[(kind, counts[kind], MEANINGS[kind]) for kind in found],
        folders=_folders(version),
        kinds=[_problems_of(kind, problems) for kind in found],
        aside=_aside(aside),
        samples=[
            ("Good images to learn from", _samples(version, "train", GOOD)),
            *_tests(version),
        ],
    )


def _folders(version: DatasetVersion) -> list[tuple[str, int, str]]:
    uses = [FolderUse(row.folder, row.images, row.use) for row in version.folders]
    return [(row.folder, row.images, row.use) for row in together(uses, _FOLDERS)]


@dataclass(frozen=True)
class _Kind:
    """What is shown of one kind of problem: a table, or pictures."""

    title: str
    rows: Sequence[tuple[str, str]]
    pictures: Sequence[Captioned]
    style: str
    left_out: int


def _cards(version: DatasetVersion, problems: int) -> list[Card]:
    counts = version.counts
    return [
        ("to train and set the threshold", str(counts["normal"]), "good images", ""),
        ("to measure with", str(counts["test_normal"]), "good images", ""),
        ("to measure with", str(counts["test_anomalous"]),
         f"defective images, {counts['masks']} with a mask", ""),
        ("findings", str(problems), "see below" if problems else "nothing was found",
         "bad" if problems else "good"),
    ]  # fmt: skip


def _problems_of(kind: str, problems: Sequence[Problem]) -> _Kind:
    found = [problem for problem in problems if problem.kind == kind]
    shown = found[:SHOWN]
    unseen = kind in _UNSEEN
    return _Kind(
        title=f"{kind.capitalize()} ({len(found)})",
        rows=[(each.path.name, each.message) for each in shown] if unseen else (),
        pictures=() if unseen else [Captioned(list(_tiles(p)), p.message) for p in shown],
        style="pairs" if any(problem.other for problem in shown) else "single",
        left_out=len(found) - len(shown),
    )


def _tiles(problem: Problem) -> Iterator[Tile]:
    for path in (problem.path, problem.other):
        image = None if path is None else _read(path)
        if path is not None and image is not None:
            yield path.name, tile(image)


def _read(path: Path) -> images.Image | None:
    """The image; None if it can no longer be read."""
    try:
        return images.read(path)
    except DataError:
        return None


def _aside(aside: Sequence[Quarantined]) -> list[tuple[str, str, str]]:
    return [
        (row.file or "could not be copied", str(row.path), row.message) for row in aside[-SHOWN:]
    ]


def _tests(version: DatasetVersion) -> Iterator[tuple[str, list[Captioned]]]:
    defects = sorted({image.defect for image in version.images if image.split == "test"})
    for defect in sorted(defects, key=lambda defect: defect != GOOD):
        count = sum(i.split == "test" and i.defect == defect for i in version.images)
        yield f"Test: {defect} ({count})", _samples(version, "test", defect)


def _samples(version: DatasetVersion, split: str, defect: str) -> list[Captioned]:
    """Some images of a kind, evenly spaced by name; defects with their masks outlined."""
    found = [image for image in version.images if (image.split, image.defect) == (split, defect)]
    step = max(1, len(found) // SHOWN)
    return [_captioned(image.sample) for image in found[::step][:SHOWN]]


def _captioned(sample: Sample) -> Captioned:
    image = images.read(sample.path)
    outlined = masked(sample, image) if sample.mask else None
    return Captioned([(sample.name, tile(image) if outlined is None else outlined)], sample.name)
