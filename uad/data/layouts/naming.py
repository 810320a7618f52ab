"""Give every picture of a folder its use, by what people said and what names and files say."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from uad.data.layouts.annotations import find_annotations
from uad.data.layouts.masks import decide_by_masks, expect_masks, give_masks
from uad.data.layouts.pictures import PHOTOGRAPHS, Folder, FoundImage, Use
from uad.data.listing import TEST, TRAIN, FolderRoles, relative_name
from uad.data.samples import GOOD, natural
from uad.data.words import Meaning, class_words, folded, mask_stems, meaning
from uad.errors import DataError
from uad.images import looks_like_mask
from uad.images.folders import OF_PREDICT, FolderFiles, image_files

Spoken = dict[tuple[str, ...], dict[str, Meaning]]
"""By folder, what the names of the folders directly inside say."""


def read_names(
    root: Path, files: FolderFiles, roles: FolderRoles, masks_by_content: frozenset[Path]
) -> Folder:
    """Give every picture its use: by what a person said, then folders, file names, and masks."""
    said = _said(root, roles)
    outside = [f for f in said if not f.is_relative_to(root)]
    images = dict.fromkeys([*files.images, *(i for f in outside for i in image_files(f))])
    folder = Folder(root, files, [FoundImage(f, _folders(root, f)) for f in images])
    spoken = _spoken(folder)
    for picture in folder.pictures:
        if not _say_by_roles(picture, said):
            _say_by_folders(picture, spoken)
            if roles.normal and picture.use != Use.MASK:
                picture.use = Use.LOOSE
    _say_by_file_names(folder, masks_by_content)
    _refuse_collection(folder)
    give_masks(folder)
    _say_by_annotations(folder)
    _settle(folder, spoken)
    expect_masks(folder)
    return folder


def _folders(root: Path, file: Path) -> tuple[str, ...]:
    return file.parent.relative_to(root).parts if file.is_relative_to(root) else ()


def _spoken(folder: Folder) -> Spoken:
    """By folder, what the names of the folders directly inside say."""
    spoken: Spoken = defaultdict(dict)
    for folders in {picture.folders for picture in folder.pictures}:
        for depth, name in enumerate(folders):
            spoken[folders[:depth]][name] = meaning(name)
    for inside in spoken.values():
        if {name.strip() for name in inside} == {"0", "1"}:  # class numbers, of which 1 may be bad
            inside.update({name: Meaning(unclear=True) for name in inside})
    return spoken


def _say_by_folders(picture: FoundImage, spoken: Spoken) -> None:
    says = [spoken[picture.folders[:d]][name] for d, name in enumerate(picture.folders)]
    split = next((said.split for said in says if said.split), None)
    validates = split == "validation"
    picture.split = None if split is None else TRAIN if split == "train" else TEST
    named = zip(picture.folders, says, strict=True)
    picture.key = tuple(folded(name) for name, said in named if not said.structural)
    good, defect = any(said.good for said in says), any(said.defect for said in says)
    if any(said.mask for said in says):
        picture.use = Use.MASK
    elif any(said.derived for said in says) or _is_other_sensor(picture, spoken):
        picture.use = Use.DERIVED
    elif split == "unlabelled":
        picture.use = Use.UNLABELLED
    elif any(said.unclear for said in says) or (good and defect):
        picture.use = Use.UNCLEAR
    elif good:
        picture.use = Use.GOOD
    elif not defect and _beside_classes(picture, says, spoken):
        picture.use = Use.UNLABELLED
    elif defect or _beside_good(picture, says, spoken):
        picture.use, picture.kind = Use.DEFECT, _kind(picture, says)
    elif picture.split == TEST:
        kind = _first_unknown(picture, says)
        picture.use, picture.kind = (Use.DEFECT, kind) if kind else (Use.UNLABELLED, GOOD)
    if picture.use == Use.GOOD and validates and _has_test(spoken):
        picture.split = TRAIN  # good images set aside for choices, which the split makes anew


def _has_test(spoken: Spoken) -> bool:
    return any(said.split == "test" for inside in spoken.values() for said in inside.values())


def _beside_good(picture: FoundImage, says: Sequence[Meaning], spoken: Spoken) -> bool:
    """Whether the picture is in a folder beside `good` with another name: the name of a defect."""
    return any(
        not said.split and not said.structural and _any_good(spoken[picture.folders[:depth]])
        for depth, said in enumerate(says)
    )


def _beside_classes(picture: FoundImage, says: Sequence[Meaning], spoken: Spoken) -> bool:
    """Whether the picture is beside good ones, or under test, in a folder not named after a defect.

    Such a folder is named after a day or a camera, or its pictures are not sorted. Numbers may be
    kinds of defects.
    """
    for depth, (name, said) in enumerate(zip(picture.folders, says, strict=True)):
        beside = picture.split == TEST or _any_good(spoken[picture.folders[:depth]])
        place = said.place and not (name.isdigit() and len(name) < 4) and not said.structural
        if beside and not said.split and (said.aside or place):
            return True
    return False


def _any_good(inside: dict[str, Meaning]) -> bool:
    return any(said.good and not said.mask for said in inside.values())


def _kind(picture: FoundImage, says: Sequence[Meaning]) -> str:
    """`kratzer` of NG/kratzer, `bad` of test/bad: the first name that is more than a class."""
    names = list(zip(picture.folders, says, strict=True))
    depth = next((d for d, said in enumerate(says) if said.defect), None)
    if depth is None:
        return _first_unknown(picture, says) or picture.folders[-1]
    below = (n for n, said in names[depth:] if not said.structural and not said.place)
    return next(below, picture.folders[depth])


def _first_unknown(picture: FoundImage, says: Sequence[Meaning]) -> str | None:
    """The first name below the split that is not a place, else the first unknown word."""
    names = list(zip(picture.folders, says, strict=True))
    split = next((d for d, said in enumerate(says) if said.split), -1)
    found = [(name, said) for name, said in names[split + 1 :] if not said.structural]
    return next((n for n, said in found if not said.place), found[0][0] if found else None)


def _is_other_sensor(picture: FoundImage, spoken: Spoken) -> bool:
    """Depth or point clouds beside the folder `rgb` of the same part, as in MVTec 3D-AD."""
    for depth, name in enumerate(picture.folders):
        beside = {other.lower() for other in spoken[picture.folders[:depth]]}
        if name.lower() in ("xyz", "depth", "pcd") and "rgb" in beside:
            return True
    return False


def _say_by_file_names(folder: Folder, masks_by_content: frozenset[Path]) -> None:
    """`x_mask.png` beside `x.png` is a mask; `ok_1.png` beside `ng_1.png` are classes."""
    beside: dict[tuple[str, ...], dict[str, int]] = defaultdict(Counter)
    for picture in folder.pictures:
        beside[picture.folders][picture.stem] += picture.use != Use.MASK
    everywhere = {picture.stem for picture in folder.pictures}
    for picture in folder.of(*PHOTOGRAPHS):
        stems = beside[picture.folders]
        owners = any(stems[stem] for stem in mask_stems(picture.stem)[1:])
        twin = stems[picture.stem] > 1 and looks_like_mask(picture.path)  # x.png beside x.jpg
        if owners or twin or picture.path in masks_by_content:
            picture.use = Use.MASK
        elif (match := OF_PREDICT.fullmatch(picture.stem)) and match[1] in everywhere:
            picture.use = Use.DERIVED
    for use in (Use.ASSUMED, Use.UNLABELLED):
        _classes_in_file_names(folder, folder.of(use))


def _classes_in_file_names(folder: Folder, pictures: list[FoundImage]) -> None:
    """Words for defects that some file names have and others have not tell pictures apart."""
    said = {picture.path: meaning(picture.path.stem) for picture in pictures}
    odd = [p for p in pictures if said[p.path].defect or said[p.path].unclear]
    if not odd:
        return
    example = relative_name(folder.root, odd[0].path)
    whole = all(each.defect and each.structural for each in said.values())  # as in `bad_12`
    if not whole and len({class_words(picture.path.stem) for picture in pictures}) < 2:
        folder.remarks.append(f"all files are named like {example}, but are taken for good images")
        return
    for picture in pictures:
        if said[picture.path].good:
            picture.use = Use.GOOD
        elif said[picture.path].defect:
            picture.use, picture.kind = Use.DEFECT, "defect"
        else:
            picture.use = Use.UNCLEAR
    folder.remarks.append(
        f"the name of {example} says more than the names of the others: if it is good too, "
        "rename it"
    )


def _say_by_annotations(folder: Folder) -> None:
    """Pictures with annotated objects belong to a class, but it is not known to which."""
    if not folder.of(Use.ASSUMED, Use.UNLABELLED):
        return
    silent = {picture.path for picture in folder.of(Use.ASSUMED, Use.UNLABELLED)}
    found = find_annotations(folder.files, silent, reads_text=not folder.of(Use.MASK))
    if found is None:
        return
    file, marked = found
    folder.remarks.append(f"{relative_name(folder.root, file)} says what pictures show")
    for picture in folder.of(Use.ASSUMED):
        if picture.path in marked or picture.split != TRAIN:
            picture.use = Use.UNCLEAR


def _settle(folder: Folder, spoken: Spoken) -> None:
    """Decide how pictures without a telling name are used, now that the others are known."""
    for split in (TRAIN, TEST, None):
        silent = [p for p in folder.of(Use.ASSUMED, Use.UNLABELLED) if p.split == split]
        decide_by_masks(folder, silent)
    _settle_training(folder, spoken)
    given = any(p.split == TRAIN for p in folder.pictures if p.use != Use.MASK)
    told = folder.of(Use.GOOD, Use.DEFECT, Use.UNCLEAR, Use.UNLABELLED, Use.MASK, Use.BY_MASK)
    if given or any(not p.by_role and not p.belongs for p in told):
        for picture in folder.of(Use.ASSUMED):
            picture.use = Use.LOOSE if given or _any_good(spoken[picture.folders]) else Use.UNCLEAR
    _remark_on_unknown_folders(folder, spoken)


def _settle_training(folder: Folder, spoken: Spoken) -> None:
    """Below `train`, folders named after days or cameras are good; other names may be classes."""
    for picture in folder.of(Use.ASSUMED):
        if picture.split != TRAIN:
            continue
        says = [spoken[picture.folders[:d]][name] for d, name in enumerate(picture.folders)]
        known = all(said.split or said.structural or said.place for said in says)
        picture.use = Use.GOOD if known else Use.UNCLEAR


def _remark_on_unknown_folders(folder: Folder, spoken: Spoken) -> None:
    """Neighbouring folders with unknown names count as good, and this is reported."""
    assumed = folder.of(Use.ASSUMED)
    if not assumed:
        return
    for parent, inside in sorted(spoken.items()):
        used = {p.folders[len(parent)] for p in assumed if p.folders[: len(parent)] == parent
                and len(p.folders) > len(parent)}  # fmt: skip
        odd = sorted(n for n in used if not inside[n].place and not inside[n].structural)
        if len(used) > 1 and odd:
            where = "/".join(parent) or "this folder"
            folder.remarks.append(
                f"the folders {natural(sorted(used))} of {where} are all taken for good images; "
                f"if one holds defects, say so: --defects {'/'.join((*parent, odd[0]))}"
            )
    said = meaning(folder.root.absolute().name)
    if said.defect or said.unclear or said.mask:
        folder.remarks.append(
            f"the folder is called {folder.root.absolute().name}, but its images are taken for good"
        )


def _said(root: Path, roles: FolderRoles) -> dict[Path, Use]:
    """By folder, what a person said that it holds."""
    named = ((roles.normal, Use.GOOD), (roles.defects, Use.DEFECT), (roles.masks, Use.MASK))
    said: dict[Path, Use] = {}
    for text, use in ((text, use) for texts, use in named for text in texts):
        folder = _role_folder(root, text)
        if said.setdefault(folder, use) != use:
            raise DataError(
                f"{folder} was named for two uses: {said[folder].value} and {use.value}. Name each "
                "folder for one."
            )
    return said


def _say_by_roles(picture: FoundImage, said: dict[Path, Use]) -> bool:
    """The nearest folder that was named says what the picture is; masks below it stay masks."""
    around = [folder for folder in said if picture.path.is_relative_to(folder)]
    if not around:
        return False
    nearest = max(around, key=lambda folder: len(folder.parts))
    below = picture.path.relative_to(nearest).parts[:-1]
    inside = [meaning(name) for name in below]
    picture.use, picture.by_role = said[nearest], True
    picture.key = tuple(folded(name) for name in below)
    if any(each.mask for each in inside):
        picture.use = Use.MASK
    picture.split = {Use.GOOD: TRAIN, Use.DEFECT: TEST}.get(picture.use)
    if picture.use == Use.DEFECT:
        picture.kind = below[0] if below else nearest.name
    return True


def _role_folder(root: Path, text: str) -> Path:
    """The folder that an option names, below the dataset's or anywhere."""
    given = Path(text).expanduser()
    inside = root / given
    for folder in (inside, given):
        if folder.is_dir():
            return root if folder.resolve() == root.resolve() else folder
    raise DataError(f"there is no folder {inside}; name a folder of {root}, or a whole path")


def _refuse_collection(folder: Folder) -> None:
    """Refuse the parent folder of several datasets: training on all of them would be wrong."""
    good = [p.folders for p in folder.of(Use.GOOD, Use.ASSUMED) if p.folders and not p.by_role]
    tops = {f[0]: meaning(f[0]) for f in good}
    other = {top for top, said in tops.items() if not (said.structural or said.says_class)}
    whole = {f[0] for f in good if any(meaning(name).split == "train" for name in f[1:])} & other
    labelled = {f[0] for f in good if any(meaning(name).good for name in f[1:])} & other
    found = sorted(whole) or sorted(top for top in labelled if not tops[top].place)
    if found and (found[0] in whole or len(found) > 1):
        count = "a dataset" if len(found) == 1 else f"{len(found)} datasets"
        raise DataError(
            f"{folder.root} holds {count} ({natural(found)}); "
            f"ingest one at a time, for example {folder.root / found[0]}"
        )
