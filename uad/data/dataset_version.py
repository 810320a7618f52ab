"""What a version of a dataset holds, how it is named by its content, and how two differ."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from uad.config.training import Areas, Zones
from uad.data.object_store import StoredFile, is_sound
from uad.data.reading import Checked
from uad.data.samples import Problem, Sample, readable
from uad.errors import DataError
from uad.storage.names import DatasetAddress, dataset_address


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


TRAIN_ONLY = "train-only"
"""Use of a normal image that is only for training. An image that was chosen because it raised an
alarm is not a fair sample: in calibration it would break the guaranteed false alarm rate."""


class Feedback(_Part):
    """Why an image is in a version though no folder holds it: what a person said about it."""

    image: str
    """Its id among the kept images."""
    said: str
    """`good` or `defective`."""
    who: str
    at: datetime
    judged_by: str
    """The model version that was wrong."""


class StoredImage(_Part):
    """One image of a version."""

    name: str
    split: str
    """`train`, `train-only` or `test`."""
    label: int
    defect: str
    image: StoredFile
    mask: StoredFile | None = None
    feedback: Feedback | None = None

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The image's file and, if there is one, its mask's."""
        return (self.image,) if self.mask is None else (self.image, self.mask)

    @property
    def sample(self) -> Sample:
        """The image as the store keeps it.

        Raises:
            DataError: a file is gone or was altered.
        """
        for file in self.files:
            if not is_sound(file):
                raise DataError(
                    f"the stored file of {self.name} ({file.path}) is gone or altered; ingest again"
                )
        return Sample(
            path=self.image.path,
            label=self.label,
            defect=self.defect,
            mask=None if self.mask is None else self.mask.path,
            sha256=self.image.sha256,
            size=(self.image.height, self.image.width),
            name=self.name,
            said_good=self.split == TRAIN_ONLY,
        )


class StoredProblem(_Part):
    """A problem as it was reported when the version was made."""

    path: str
    kind: str
    message: str
    other: str | None = None

    @classmethod
    def of(cls, problem: Problem) -> "StoredProblem":
        """The stored form of a problem."""
        other = None if problem.other is None else readable(problem.other)
        return cls(
            path=readable(problem.path), kind=problem.kind, message=problem.message, other=other
        )

    @property
    def problem(self) -> Problem:
        """What `of` took."""
        other = None if self.other is None else Path(self.other)
        return Problem(Path(self.path), self.kind, self.message, other)


class StoredFolder(_Part):
    """What the images of one folder were used for when the version was made."""

    folder: str
    images: int
    use: str


class DatasetVersion(_Part):
    """An immutable version of a dataset, as stored."""

    format: int = 1
    name: str
    version: str
    """12 hexadecimal digits; see `version_id`."""
    created: datetime
    source: str
    """The folder or manifest it was made of."""
    layout: str
    counts: dict[str, int]
    """normal (for training), test_normal, test_anomalous, masks."""
    group_pattern: str | None = None
    """Used to split the normals unless the training's settings name another."""
    ignore: Areas = ()
    """Regions of the images to ignore; see `uad.scoring.zones`."""
    zones: Zones = ()
    """Parts of the images with an alpha of their own."""
    images: tuple[StoredImage, ...]
    folders: tuple[StoredFolder, ...] = ()
    """Of the source; versions that were made by earlier releases have none."""
    reported: tuple[StoredProblem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the checks found."""
        return tuple(stored.problem for stored in self.reported)

    @property
    def address(self) -> DatasetAddress:
        """`name@version`, for --data."""
        return dataset_address(self.name, self.version)


def stored_images(entries: Iterable[Checked]) -> tuple[StoredImage, ...]:
    """What a version remembers of checked images."""
    return tuple(
        StoredImage(
            name=entry.item.name,
            split=entry.item.split,
            label=entry.label,
            defect=entry.item.defect,
            image=StoredFile.of(entry.facts),
            mask=None if entry.mask_facts is None else StoredFile.of(entry.mask_facts),
        )
        for entry in entries
    )


def version_id(
    images: Iterable[StoredImage],
    group_pattern: str | None = None,
    ignore: Areas = (),
    zones: Zones = (),
) -> str:
    """First 12 hexadecimal digits of a hash of names, uses, labels, contents and zones.

    Neither time nor place enters: the same images are the same version everywhere.
    """
    rows = sorted(
        (i.name, i.split, i.defect, i.image.sha256, i.mask.sha256 if i.mask else "") for i in images
    )
    content: list[object] = [rows] if group_pattern is None else [rows, group_pattern]
    if ignore:
        content.append({"ignore": ignore})
    if zones:
        content.append({"zones": [zone.model_dump(mode="json") for zone in zones]})
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def counts_of(images: Iterable[StoredImage]) -> dict[str, int]:
    """Images by use, and masks."""
    counts = {"normal": 0, "test_normal": 0, "test_anomalous": 0, "masks": 0}
    for image in images:
        test = "test_anomalous" if image.label else "test_normal"
        counts[test if image.split == "test" else "normal"] += 1
        counts["masks"] += image.mask is not None
    return counts


@dataclass(frozen=True)
class VersionDifference:
    """Images by name, in the order of names."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[str, ...]
    """New names of pixels that had another name."""
    replaced: tuple[str, ...]
    """Same name, other pixels or another mask."""
    relabelled: tuple[str, ...]
    """Same name and pixels, another defect or another split."""

    def __bool__(self) -> bool:
        return any((self.added, self.removed, self.renamed, self.replaced, self.relabelled))


def compare(old: DatasetVersion, new: DatasetVersion) -> VersionDifference:
    """How `new` differs from `old`."""
    before = {image.name: image for image in old.images}
    after = {image.name: image for image in new.images}
    new_names = sorted(after.keys() - before.keys())
    old_names = sorted(before.keys() - after.keys())
    came = {after[name].image.sha256 for name in new_names}
    went = {before[name].image.sha256 for name in old_names}
    both = sorted(before.keys() & after.keys())
    replaced = [name for name in both if _content(before[name]) != _content(after[name])]
    relabelled = [name for name in both if _meaning(before[name]) != _meaning(after[name])]
    return VersionDifference(
        added=tuple(n for n in new_names if after[n].image.sha256 not in went),
        removed=tuple(n for n in old_names if before[n].image.sha256 not in came),
        renamed=tuple(n for n in new_names if after[n].image.sha256 in went),
        replaced=tuple(replaced),
        relabelled=tuple(name for name in relabelled if name not in replaced),
    )


def _content(image: StoredImage) -> tuple[str, str | None]:
    return image.image.sha256, image.mask.sha256 if image.mask else None


def _meaning(image: StoredImage) -> tuple[str, str]:
    return image.split, image.defect
