"""Which mask belongs to which picture, and which pictures are labelled by their masks alone."""

from collections import defaultdict
from pathlib import Path

from uad.data.layouts.pictures import PHOTOGRAPHS, Folder, FoundImage, Use
from uad.data.samples import GOOD
from uad.data.words import folded, mask_stems, meaning


def give_masks(folder: Folder) -> None:
    """Find the picture of each mask: same name, and folders that agree."""
    pictures = defaultdict(list)
    for picture in folder.of(*PHOTOGRAPHS):
        pictures[picture.stem].append(picture)
    for mask in folder.of(Use.MASK):
        owner = _owner(mask, pictures)
        if owner is not None:
            owner.masks.append(mask.path)
            mask.belongs = True


def _owner(mask: FoundImage, pictures: dict[str, list[FoundImage]]) -> FoundImage | None:
    if mask.folders:  # several masks of one picture lie in a folder of its name, as in MVTec LOCO
        named = pictures.get(folded(mask.folders[-1]), [])
        found = _agreeing(mask, mask.key[:-1], [p for p in named if p.key == mask.key[:-1]])
        if found is not None:
            return found
    for stem in mask_stems(mask.stem):
        found = _agreeing(mask, mask.key, pictures.get(stem, []))
        if found is not None:
            return found
    return None


def _agreeing(
    mask: FoundImage, key: tuple[str, ...], candidates: list[FoundImage]
) -> FoundImage | None:
    """The picture whose folders agree best with the mask's; None if two agree equally well."""
    possible = [p for p in candidates if mask.split in (None, p.split)]
    if not possible:
        return None
    scores = [_agreement(mask, key, picture) for picture in possible]
    best = [p for p, score in zip(possible, scores, strict=True) if score == max(scores)]
    return best[0] if len(best) == 1 else None


def _agreement(mask: FoundImage, key: tuple[str, ...], picture: FoundImage) -> tuple[int, int, int]:
    """Folders in common from the file upwards, whether both are good or defective, the others."""
    if mask.folders == picture.folders:
        return (1000, 0, 0)
    common = 0
    for mine, other in zip(reversed(key), reversed(picture.key), strict=False):
        if mine != other:
            break
        common += 1
    of_good = any(meaning(name).good for name in mask.folders)
    return (
        common,
        int(picture.use == (Use.GOOD if of_good else Use.DEFECT)),
        -abs(len(key) - len(picture.key)),
    )


def decide_by_masks(folder: Folder, silent: list[FoundImage]) -> None:
    """If every picture has a mask, the masks say which are defective."""
    masked = [picture for picture in silent if picture.masks]
    if not masked:
        return
    lists = {f.parent for f in folder.files.others if f.name.lower() == "labels.txt"}  # DAGM
    masks = {p.path: p for p in folder.of(Use.MASK)}
    for picture in silent:
        listed = any(picture.path.parent in (f, f.parent) for f in lists)
        if listed:
            picture.use = Use.DEFECT if picture.masks else Use.GOOD
            picture.kind = "defect" if picture.masks else GOOD
        elif len(masked) == len(silent) and _meant(picture, masks):
            picture.use = Use.BY_MASK
        elif picture.use == Use.ASSUMED:
            picture.use = Use.UNCLEAR


def _meant(picture: FoundImage, masks: dict[Path, FoundImage]) -> bool:
    """Whether a mask is meant for it: it lies beside the picture, or beside its folder."""
    return bool(picture.folders) or any(
        masks[m].by_role or masks[m].folders == picture.folders for m in picture.masks
    )


def expect_masks(folder: Folder) -> None:
    """A picture without a mask is reported if other pictures of its defect have one."""
    with_masks = {p.kind for p in folder.of(Use.DEFECT) if p.masks}
    for picture in folder.of(Use.DEFECT):
        picture.mask_expected = picture.kind in with_masks
