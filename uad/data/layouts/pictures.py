"""The pictures of a folder while it is read: their uses, and remarks for the user."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from uad.data.listing import (
    TEST,
    TRAIN,
    ListedImage,
    Listing,
    folder_uses,
    relative_name,
    uses_in_words,
)
from uad.data.manifests import labels_file
from uad.data.samples import GOOD
from uad.data.words import folded, meaning
from uad.errors import DataError
from uad.images.folders import FolderFiles, told_unreadable


class Use(Enum):
    """What a picture is used for."""

    GOOD = "good"
    DEFECT = "defect"
    MASK = "mask"
    """It marks where a defect is in another picture."""
    DERIVED = "derived"
    """A program made it of another picture."""
    ASSUMED = "assumed"
    """Nothing is said: good, if nothing else in the folder speaks of classes or masks."""
    BY_MASK = "by mask"
    """The picture's mask says whether it is defective."""
    UNLABELLED = "unlabelled"
    """Pictures of a test folder, or beside good ones, and nothing says whether they are good."""
    LOOSE = "loose"
    """Pictures outside the folders whose names say what they hold."""
    UNCLEAR = "unclear"
    """It looks like a class, but like which?"""


PHOTOGRAPHS = (Use.GOOD, Use.DEFECT, Use.ASSUMED, Use.UNLABELLED, Use.UNCLEAR, Use.LOOSE)
"""What may have a mask."""


@dataclass
class FoundImage:
    """An image file and what is known of it so far."""

    path: Path
    folders: tuple[str, ...]
    """Below the dataset's folder."""
    use: Use = Use.ASSUMED
    split: str | None = None
    """`train`, `test` or None."""
    kind: str = GOOD
    """What the defect is called."""
    key: tuple[str, ...] = ()
    """The folders that masks share with their pictures: those that say what is in it."""
    masks: list[Path] = field(default_factory=list)
    mask_expected: bool = False
    belongs: bool = False
    """A mask whose picture was found."""
    by_role: bool = False
    """A person said what it is."""

    @property
    def stem(self) -> str:
        """The file's name without its suffix, as names are compared."""
        return folded(self.path.stem)

    def listed(self, root: Path) -> ListedImage:
        """The picture as `checks` takes it."""
        masks = sorted(self.masks)
        defective = self.use == Use.DEFECT
        return ListedImage(
            path=self.path,
            name=relative_name(root, self.path),
            split=self.split or (TEST if defective else TRAIN),
            defect=self.kind if defective else GOOD,
            mask=masks[0] if masks else None,
            more_masks=tuple(masks[1:]),
            mask_decides=self.use == Use.BY_MASK,
            mask_expected=self.mask_expected,
            assumed_good=self.use == Use.ASSUMED,
            split_given=self.split is not None and not self.by_role,
        )


@dataclass
class Folder:
    """A dataset's folder with all its pictures; the steps of `read_names` fill in their uses."""

    root: Path
    files: FolderFiles
    pictures: list[FoundImage]
    remarks: list[str] = field(default_factory=list)

    def of(self, *uses: Use) -> list[FoundImage]:
        """The pictures of these uses."""
        return [picture for picture in self.pictures if picture.use in uses]

    def listing(self) -> Listing:
        """The uses that the names give; raises DataError if a question stays open."""
        self._refuse_unclear()
        used = self.of(Use.GOOD, Use.DEFECT, Use.ASSUMED, Use.BY_MASK)
        uses = folder_uses(self.root, ((p.path, _told(p), _is_unused(p)) for p in self.pictures))
        remarks = [*self.remarks]
        if unreadable := told_unreadable(self.files):
            remarks.append(unreadable)
        return Listing(
            self.root,
            _layout(self),
            tuple(p.listed(self.root) for p in used),
            folders=uses,
            remarks=tuple(remarks),
        )

    def _refuse_unclear(self) -> None:
        unclear = self.of(Use.UNCLEAR)
        trains = [p for p in self.of(Use.GOOD, Use.ASSUMED, Use.BY_MASK) if p.split != TEST]
        if not unclear and (trains or any(p.split == TRAIN for p in self.pictures)):
            return
        if not unclear and self.of(Use.GOOD, Use.DEFECT):
            return  # test images alone: what reads the pictures says what is missing
        reason = (
            f"nothing says whether {len(unclear)} of its pictures are good"
            if trains
            else f"it has {_telling_folder(self)} but none that says which images are good"
        )
        raise DataError(self._refusal(reason))

    def _refusal(self, reason: str) -> str:
        rows = folder_uses(self.root, ((p.path, _told(p), False) for p in self.pictures))
        why = f" ({'; '.join(self.remarks)})" if self.remarks else ""
        labels = next((f for f in self.files.others if labels_file(f)), None)
        by_list = f", or name {labels}, which labels pictures" if labels else ""
        return (
            f"{self.root}: {reason}{why}. Its folders would be taken for: {uses_in_words(rows)}. "
            "Put good images into train/good; or say what the folders hold: "
            "--normal DIR --defects DIR --masks DIR; or correct a list of the pictures that "
            f"`uad ingest --write-manifest FILE.csv` writes{by_list}"
        )


def _told(picture: FoundImage) -> str:
    """A picture's use, for the table."""
    if picture.use == Use.MASK and not picture.belongs:
        return "used for nothing: masks without a picture"
    return {
        Use.GOOD: "good, for testing" if picture.split == TEST else "good, for training",
        Use.DEFECT: f"defective ({picture.kind}), for testing",
        Use.MASK: "masks",
        Use.DERIVED: "used for nothing: made from other pictures, or by another sensor",
        Use.ASSUMED: "good, for training (nothing says otherwise)",
        Use.BY_MASK: "good or defective, as each mask says",
        Use.UNLABELLED: "used for nothing: nothing says whether they are good",
        Use.LOOSE: "used for nothing: not in a folder that says what they are",
        Use.UNCLEAR: "not clear: good or defective?",
    }[picture.use]


def _is_unused(picture: FoundImage) -> bool:
    unused = picture.use in (Use.DERIVED, Use.UNLABELLED, Use.LOOSE)
    return unused or (picture.use == Use.MASK and not picture.belongs)


def _telling_folder(folder: Folder) -> str:
    """The folder whose name made it more than a folder of good images."""
    for picture in folder.of(Use.DEFECT, Use.MASK, Use.UNLABELLED, Use.UNCLEAR, Use.GOOD):
        for name in picture.folders:
            said = meaning(name)
            if said.defect or said.mask or said.unclear or said.split:
                return f"a folder '{name}'"
    return "pictures of defects or masks"


def _layout(folder: Folder) -> str:
    """A name for the table; it decides nothing."""
    names = {name.lower() for p in folder.pictures for name in p.folders}
    if "test_public" in names:
        return "MVTec AD 2"
    if any(meaning(name).split == "train" for name in names):
        return "MVTec AD" if "train" in names else "train and test folders"
    if {"data", "images", "masks"} <= names:
        return "VisA"
    if folder.of(Use.BY_MASK):
        return "images with masks"
    classes = folder.of(Use.GOOD, Use.DEFECT)
    return "good and defect folders" if classes else "folder of normal images"
