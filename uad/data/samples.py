"""What a dataset is made of: plain, frozen values."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from uad.config.training import Areas, Zones
from uad.storage.names import DatasetAddress, dataset_address

GOOD = "good"


@dataclass(frozen=True)
class Sample:
    """One image that was decoded once and found whole."""

    path: Path
    label: int
    """0 normal, 1 anomalous."""
    defect: str
    """`good`, or what the defect is called."""
    mask: Path | None
    """Where the defect is; see `images.read_mask`. None: image metrics only."""
    sha256: str
    """Of the file's bytes."""
    size: tuple[int, int]
    """(H, W), upright."""
    name: str
    """Relative to the dataset's root, with forward slashes."""
    said_good: bool = False
    """Whether it raised a false alarm and a person said that it is good; it only trains."""


@dataclass(frozen=True)
class Problem:
    """Something about one file that a person should know; the file itself is never touched."""

    path: Path
    kind: str
    """`broken`, `unfinished`, `missing`, `duplicate`, `leak`, `similar`, `copy`, `conflict`,
    `mask`, `moved`, `unused`, `folders`, `clock`, `blank`, `flat`, `dark`, `frames`, `size`,
    `brightness`, `fewer` or `excluded`."""
    message: str
    """What is wrong and what was done about it."""
    other: Path | None = None
    """The file it is compared with: the twin of a duplicate."""


@dataclass(frozen=True)
class Dataset:
    """The images by use: training, selection, calibration and test."""

    name: str
    version: str
    """12 hexadecimal digits, made of the content alone: see `dataset_version.version_id`."""
    train: tuple[Sample, ...]
    selection: tuple[Sample, ...]
    """Normal images that choose checkpoint and score."""
    calibration: tuple[Sample, ...]
    """Normal images that set the threshold and nothing else."""
    test: tuple[Sample, ...]
    """Normal and anomalous images that are never used to choose anything."""
    problems: tuple[Problem, ...] = ()
    layout: str = ""
    groups: int | None = None
    """How many capture groups the normals fall into; None when no pattern was given."""
    group_pattern: str | None = None
    """What told them apart."""
    ignore: Areas = ()
    """Regions of the images to ignore; see `uad.scoring.zones`."""
    zones: Zones = ()
    """Parts of the images with an alpha of their own."""

    @property
    def address(self) -> DatasetAddress:
        """`name@version`."""
        return dataset_address(self.name, self.version)

    @property
    def normals(self) -> tuple[Sample, ...]:
        """All normal images that are not for testing."""
        return self.train + self.selection + self.calibration

    @property
    def counts(self) -> dict[str, int]:
        """Images by use: train, selection, calibration, test_normal, test_anomalous, masks."""
        anomalous = sum(sample.label for sample in self.test)
        return {
            "train": len(self.train),
            "selection": len(self.selection),
            "calibration": len(self.calibration),
            "test_normal": len(self.test) - anomalous,
            "test_anomalous": anomalous,
            "masks": sum(sample.mask is not None for sample in self.test),
        }


def readable(path: Path | str) -> str:
    """The path as text that can be printed and stored; bytes that are no UTF-8 become `?`."""
    return str(path).encode("utf-8", "replace").decode()


def natural(names: Iterable[str], limit: int = 5) -> str:
    """A few names for a message: `a, b, c and 4 more`."""
    names = list(names)
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
