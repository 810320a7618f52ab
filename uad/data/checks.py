"""Read and judge every file of a listing: what can be used, and what a person should know."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from uad.data.index import Facts
from uad.data.layouts import TEST, TRAIN, Item, Listing, find, relative_name
from uad.data.reading import image_facts, mask_facts, read_all
from uad.data.samples import GOOD, Problem, Sample, natural
from uad.errors import DataError, ImageError

OnBroken = Literal["skip", "refuse"]


@dataclass(frozen=True)
class Checked:
    """One usable image of a listing."""

    item: Item
    facts: Facts
    mask: Path | None = None
    """Fits the image and marks something."""
    mask_facts: Facts | None = None

    @property
    def label(self) -> int:
        """0 normal, 1 anomalous."""
        return int(self.item.defect != GOOD)

    @property
    def sample(self) -> Sample:
        """The image where it lies."""
        item, facts = self.item, self.facts
        return Sample(
            path=item.path,
            label=self.label,
            defect=item.defect,
            mask=self.mask,
            sha256=facts.sha256,
            size=facts.size,
            name=item.name,
        )


@dataclass(frozen=True)
class Scan:
    """A listing after every file was looked at."""

    root: Path
    layout: str
    entries: tuple[Checked, ...]
    problems: tuple[Problem, ...]
    files_read: int
    """Files that had to be read; the others were known from before."""


def scan(path: Path, *, on_broken: OnBroken = "skip", progress: bool = True) -> Scan:
    """Find and check the images of `path`; nothing is written but the index of known files.

    A broken image is skipped and named, or refused with `on_broken="refuse"`. Exact duplicates of
    one split and label are used once. An anomalous training image is used for testing. A mask that
    is missing, broken, empty or of another size leaves its image without one, for image metrics.

    Raises:
        DataError: no images, no normal training image, or a broken image with "refuse".
    """
    listing = find(Path(path))
    checked, broken, files_read = _read_images(listing, progress)
    broken = [*_missing(listing), *broken]
    if broken and on_broken == "refuse":
        count = len(listing.items) + len(listing.missing)
        raise DataError(
            f"{len(broken)} of {count} images in {path} cannot be used: "
            f"{broken[0].message}; repair or remove them, or skip them with --on-broken skip"
        )
    checked, mask_problems, masks_read = _with_masks(listing.root, checked, progress)
    checked, moved = _anomalous_to_test(checked)
    checked, twins = _without_duplicates(checked)
    problems = (*broken, *mask_problems, *moved, *twins, *_remarks(checked))
    _refuse_without_normals(listing, checked, broken)
    entries = tuple(sorted(checked, key=lambda entry: entry.item.name))
    return Scan(listing.root, listing.layout, entries, problems, files_read + masks_read)


def _read_images(listing: Listing, progress: bool) -> tuple[list[Checked], list[Problem], int]:
    files = {item.path: item.name for item in listing.items}
    facts, faults, read = read_all(files, "image", image_facts, progress)
    checked = [Checked(item, facts[item.path]) for item in listing.items if item.path in facts]
    broken = [Problem(path, "broken", str(exc)) for path, exc in faults.items()]
    return checked, broken, read


def _with_masks(
    root: Path, checked: Sequence[Checked], progress: bool
) -> tuple[list[Checked], list[Problem], int]:
    masks = {mask: relative_name(root, mask) for entry in checked if (mask := entry.item.mask)}
    facts, faults, read = read_all(masks, "mask", mask_facts, progress)
    result, problems = [], []
    for entry in checked:
        where = entry.item.mask or entry.item.path
        if entry.item.mask_decides and where in faults:
            message = f"{faults[where]}; {entry.item.name} is left out, nothing else labels it"
            problems.append(Problem(where, "mask", message))
            continue
        masked, complaint = _with_mask(entry, facts, faults)
        result.append(masked)
        if complaint:
            problems.append(Problem(where, "mask", f"{complaint}; used for image metrics only"))
    return result, problems, read


def _with_mask(
    entry: Checked, facts: dict[Path, Facts], faults: dict[Path, ImageError]
) -> tuple[Checked, str]:
    """The entry with its mask if that can be used, else the reason why not."""
    item, mask = entry.item, entry.item.mask
    if mask is None:
        return entry, f"{item.name} has no mask" if item.mask_expected else ""
    if mask in faults:
        return entry, str(faults[mask])
    found = facts[mask]
    if item.mask_decides:
        if found.remark == "empty":
            return entry, ""
        entry = replace(entry, item=replace(item, defect="defect"))
    if found.remark == "empty":
        return entry, f"the mask of {item.name} marks nothing"
    if found.size != entry.facts.size:
        height, width = entry.facts.size
        return entry, (
            f"the mask of {item.name} is {found.size[0]}x{found.size[1]} but the image is "
            f"{height}x{width} (height x width)"
        )
    return replace(entry, mask=mask, mask_facts=found), ""


def _anomalous_to_test(checked: Sequence[Checked]) -> tuple[list[Checked], list[Problem]]:
    result, problems = [], []
    for entry in checked:
        if entry.label and entry.item.split == TRAIN:
            message = f"{entry.item.name} is anomalous ({entry.item.defect}); used for testing only"
            problems.append(Problem(entry.item.path, "moved", message))
            entry = replace(entry, item=replace(entry.item, split=TEST))
        result.append(entry)
    return result, problems


def _without_duplicates(checked: Sequence[Checked]) -> tuple[list[Checked], list[Problem]]:
    """One of each content in a split and label; the same content elsewhere is only reported."""
    by_content: dict[str, list[Checked]] = defaultdict(list)
    problems = []
    kept = []
    for entry in sorted(checked, key=lambda entry: (entry.item.split, entry.item.name)):
        twins = by_content[entry.facts.sha256]
        twin = next((t for t in twins if _use(t) == _use(entry)), None)
        if twin is not None:
            message = f"{entry.item.name} is the same file as {twin.item.name}; used once"
            problems.append(Problem(entry.item.path, "duplicate", message))
            continue
        if twins:
            problems.append(_leak(entry, twins[0]))
        twins.append(entry)
        kept.append(entry)
    return kept, problems


def _use(entry: Checked) -> tuple[str, int]:
    return entry.item.split, entry.label


def _leak(entry: Checked, twin: Checked) -> Problem:
    names = f"{entry.item.name} is the same file as {twin.item.name}"
    if entry.label != twin.label:
        message = f"{names}, but one is labelled normal and one anomalous; both kept, correct one"
        return Problem(entry.item.path, "conflict", message)
    message = f"{names}: train and test share it, so measurements flatter; both kept"
    return Problem(entry.item.path, "leak", message)


def _remarks(checked: Sequence[Checked]) -> list[Problem]:
    texts = {
        "blank": "{} is all of one colour; kept, look whether the camera was covered",
        "dark": "{} uses at most 12 of its 16 bits and is nearly black; scale it up when exporting",
    }
    return [
        Problem(
            entry.item.path, entry.facts.remark, texts[entry.facts.remark].format(entry.item.name)
        )
        for entry in checked
        if entry.facts.remark in texts
    ]


def _missing(listing: Listing) -> list[Problem]:
    return [Problem(path, "missing", f"{path} is listed but not there") for path in listing.missing]


def _refuse_without_normals(
    listing: Listing, checked: Sequence[Checked], broken: Sequence[Problem]
) -> None:
    if any(entry.item.split == TRAIN and not entry.label for entry in checked):
        return
    hint = f" ({len(broken)} could not be read: {broken[0].message})" if broken else ""
    defects = sorted({entry.item.defect for entry in checked if entry.label})
    found = f", only {natural(defects)}" if defects else ""
    raise DataError(
        f"{listing.root} has no normal image to train on{found}{hint}; "
        "put images of good parts into train/good, or name a folder of good images"
    )
