"""Find out what a folder holds: good pictures, defects, masks, and what belongs to what.

The names of folders and files say it (see `words`): a picture below `train` and `good` trains, one
below `test/crack` measures, one below `ground_truth` marks where a defect is. That reads the
layouts of public data sets and of other tools alike. What looks like classes or masks and is not
clear is refused, with a list of what each folder would be taken for. Nothing is opened here but
lists; `checks` looks at the pictures.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uad.data.annotations import find_annotations
from uad.data.listing import (
    TEST,
    TRAIN,
    FolderRoles,
    ListedImage,
    Listing,
    folder_uses,
    relative_name,
)
from uad.data.manifests import labels_file, manifest_in, read_manifest, read_paddlex_lists
from uad.data.samples import GOOD, natural
from uad.data.words import Meaning, class_words, mask_stems, meaning
from uad.errors import DataError
from uad.image_files import FolderFiles, image_files, list_files, no_images, told_unreadable
from uad.images import looks_like_mask

_OF_PREDICT = re.compile(r"(.+?)(?:-\d+)?_res")
"""Names of the pictures that `uad predict` writes."""
_SHOWN = 12
"""Folders that a refusal lists."""


def find(
    path: Path,
    roles: FolderRoles | None = None,
    *,
    masks_by_content: frozenset[Path] = frozenset(),
) -> Listing:
    """Find the images of `path`, a folder or a manifest file, and what each is used for.

    Args:
        path: a folder or a manifest.
        roles: what a person says that folders hold; nothing is guessed then.
        masks_by_content: pictures that were looked at and are masks, whatever their names say.

    Raises:
        DataError: nothing there, no images, several datasets side by side, or pictures of which
            nothing says whether they are good.
    """
    path = path.expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    if path.is_file():
        return read_manifest(path.parent, path)
    if not roles and (file := manifest_in(path)):
        return read_manifest(path, file)
    files = list_files(path)
    if not roles and (path / "train.txt").is_file() and not _has_train_folder(path):
        return read_paddlex_lists(path)
    if not files.images:
        raise DataError(no_images(path, files))
    return _by_names(path, files, roles or FolderRoles(), masks_by_content).listing()


def proposal(path: Path, roles: FolderRoles | None = None) -> Iterator[dict[str, str]]:
    """The rows of a manifest for a person to correct: every picture, with `?` where unclear.

    Paths are absolute. Masks are named beside their pictures; other masks are left out.
    """
    path = path.expanduser()
    if not path.is_dir() or manifest_in(path) or (path / "train.txt").is_file():
        yield from (_row(image, image.defect) for image in find(path, roles).images)
        return
    read = _by_names(path, list_files(path), roles or FolderRoles(), frozenset())
    for picture in read.pictures:
        if picture.use in (_MASK, _DERIVED):
            continue
        label = {_GOOD: GOOD, _DEFECT: picture.kind}.get(picture.use, "?")
        yield _row(picture.listed(read.root), label)


def _row(image: ListedImage, label: str) -> dict[str, str]:
    mask = "" if image.mask is None else str(image.mask.absolute())
    split = image.split if label != "?" else ""
    return {"path": str(image.path.absolute()), "label": label, "mask": mask, "split": split}


_GOOD, _DEFECT, _MASK, _DERIVED = "good", "defect", "mask", "derived"
_ASSUMED = "assumed"
"""Nothing is said: good, if nothing else in the folder speaks of classes or masks."""
_BY_MASK = "by mask"
"""The picture's mask says whether it is defective."""
_UNLABELLED = "unlabelled"
"""Pictures of a test folder of which nothing says whether they are good."""
_LOOSE = "loose"
"""Pictures beside a folder of good ones, in no folder of their own."""
_UNCLEAR = "unclear"
"""It looks like a class, but like which?"""


@dataclass
class _Picture:
    """An image file and what is known of it so far."""

    path: Path
    folders: tuple[str, ...]
    """Below the dataset's folder."""
    use: str = _ASSUMED
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
        """The file's name without its suffix, in lower case."""
        return self.path.stem.lower()

    def listed(self, root: Path) -> ListedImage:
        """The picture as `checks` takes it."""
        masks = sorted(self.masks)
        defective = self.use == _DEFECT
        return ListedImage(
            path=self.path,
            name=relative_name(root, self.path),
            split=self.split or (TEST if defective else TRAIN),
            defect=self.kind if defective else GOOD,
            mask=masks[0] if masks else None,
            more_masks=tuple(masks[1:]),
            mask_decides=self.use == _BY_MASK,
            mask_expected=self.mask_expected,
            assumed_good=self.use == _ASSUMED,
            split_given=self.split is not None,
        )


@dataclass
class _Folder:
    """A dataset's folder with all its pictures; the steps of `_by_names` fill in their uses."""

    root: Path
    files: FolderFiles
    pictures: list[_Picture]
    remarks: list[str] = field(default_factory=list)

    def of(self, *uses: str) -> list[_Picture]:
        """The pictures of these uses."""
        return [picture for picture in self.pictures if picture.use in uses]

    def listing(self) -> Listing:
        """What the names say, or a refusal where they leave a question open."""
        self._refuse_unclear()
        used = self.of(_GOOD, _DEFECT, _ASSUMED, _BY_MASK)
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
        unclear = self.of(_UNCLEAR)
        trains = [p for p in self.of(_GOOD, _ASSUMED, _BY_MASK) if p.split != TEST]
        if not unclear and (trains or any(p.split == TRAIN for p in self.pictures)):
            return
        if not unclear and self.of(_GOOD) and self.of(_DEFECT):
            return  # test images alone: what reads the pictures says what is missing
        reason = (
            f"nothing says whether {len(unclear)} of its pictures are good"
            if trains
            else f"it has {_telling_folder(self)} but none that says which images are good"
        )
        raise DataError(self._refusal(reason))

    def _refusal(self, reason: str) -> str:
        rows = folder_uses(self.root, ((p.path, _told(p), False) for p in self.pictures))
        told = "; ".join(f"{row.folder}: {row.images} {row.use}" for row in rows[:_SHOWN])
        more = f"; and {len(rows) - _SHOWN} more folders" if len(rows) > _SHOWN else ""
        why = f" ({'; '.join(self.remarks)})" if self.remarks else ""
        labels = next((f for f in self.files.others if labels_file(f)), None)
        by_list = f", or name {labels}, which labels pictures" if labels else ""
        return (
            f"{self.root}: {reason}{why}. Its folders would be taken for: {told}{more}. "
            "Put good images into train/good; or say what the folders hold: "
            "--normal DIR --defects DIR --masks DIR; or correct a list of the pictures that "
            f"`uad ingest --write-manifest FILE.csv` writes{by_list}"
        )


def _by_names(
    root: Path, files: FolderFiles, roles: FolderRoles, masks_by_content: frozenset[Path]
) -> _Folder:
    """Give every picture its use: by what a person said, then folders, file names, and masks."""
    said = _said(root, roles)
    outside = [f for f in said if not f.is_relative_to(root)]
    images = dict.fromkeys([*files.images, *(i for f in outside for i in image_files(f))])
    folder = _Folder(root, files, [_Picture(f, _folders(root, f)) for f in images])
    spoken = _spoken(folder)
    for picture in folder.pictures:
        if not _say_by_roles(picture, said):
            _say_by_folders(picture, spoken)
            if roles.normal and picture.use != _MASK:
                picture.use = _LOOSE
    _say_by_file_names(folder, masks_by_content)
    _refuse_collection(folder)
    _give_masks(folder)
    _say_by_annotations(folder)
    _settle(folder, spoken)
    _expect_masks(folder)
    return folder


def _folders(root: Path, file: Path) -> tuple[str, ...]:
    return file.parent.relative_to(root).parts if file.is_relative_to(root) else ()


Spoken = dict[tuple[str, ...], dict[str, Meaning]]


def _spoken(folder: _Folder) -> Spoken:
    """By folder, what the names of the folders directly inside say."""
    spoken: Spoken = defaultdict(dict)
    for folders in {picture.folders for picture in folder.pictures}:
        for depth, name in enumerate(folders):
            spoken[folders[:depth]][name] = meaning(name)
    for inside in spoken.values():
        if {name.strip() for name in inside} == {"0", "1"}:  # class numbers, of which 1 may be bad
            inside.update({name: Meaning(unclear=True) for name in inside})
    return spoken


def _say_by_folders(picture: _Picture, spoken: Spoken) -> None:
    says = [spoken[picture.folders[:d]][name] for d, name in enumerate(picture.folders)]
    split = next((said.split for said in says if said.split), None)
    validates = split == "validation"
    picture.split = None if split is None else TRAIN if split == "train" else TEST
    named = zip(picture.folders, says, strict=True)
    picture.key = tuple(name.lower() for name, said in named if not said.structural)
    good, defect = any(said.good for said in says), any(said.defect for said in says)
    if any(said.mask for said in says):
        picture.use = _MASK
    elif any(said.derived for said in says) or _is_other_sensor(picture, spoken):
        picture.use = _DERIVED
    elif split == "unlabelled":
        picture.use = _UNLABELLED
    elif any(said.unclear for said in says) or (good and defect):
        picture.use = _UNCLEAR
    elif good:
        picture.use = _GOOD
    elif not defect and _beside_classes(picture, says, spoken):
        picture.use = _UNLABELLED
    elif defect or _beside_good(picture, says, spoken):
        picture.use, picture.kind = _DEFECT, _kind(picture, says)
    elif picture.split == TEST:
        kind = _first_unknown(picture, says)
        picture.use, picture.kind = (_DEFECT, kind) if kind else (_UNLABELLED, GOOD)
    if picture.use == _GOOD and validates and _has_test(spoken):
        picture.split = TRAIN  # good images set aside for choices, which the split makes anew


def _has_test(spoken: Spoken) -> bool:
    return any(said.split == "test" for inside in spoken.values() for said in inside.values())


def _beside_good(picture: _Picture, says: Sequence[Meaning], spoken: Spoken) -> bool:
    """Whether a folder of another name than its neighbour `good` holds the picture: a defect's."""
    return any(
        not said.split and not said.structural and _any_good(spoken[picture.folders[:depth]])
        for depth, said in enumerate(says)
    )


def _beside_classes(picture: _Picture, says: Sequence[Meaning], spoken: Spoken) -> bool:
    """Whether pictures lie beside good ones, or under test, in a folder that is no defect's.

    That is one of a day or a camera, or of what nobody has sorted. Numbers may be kinds of defects.
    """
    for depth, (name, said) in enumerate(zip(picture.folders, says, strict=True)):
        beside = picture.split == TEST or _any_good(spoken[picture.folders[:depth]])
        place = said.place and not (name.isdigit() and len(name) < 4) and not said.structural
        if beside and not said.split and (said.aside or place):
            return True
    return False


def _any_good(inside: dict[str, Meaning]) -> bool:
    return any(said.good and not said.mask for said in inside.values())


def _kind(picture: _Picture, says: Sequence[Meaning]) -> str:
    """`kratzer` of NG/kratzer, `bad` of test/bad: the first name that is more than a class."""
    names = list(zip(picture.folders, says, strict=True))
    depth = next((d for d, said in enumerate(says) if said.defect), None)
    if depth is None:
        return _first_unknown(picture, says) or picture.folders[-1]
    below = (n for n, said in names[depth:] if not said.structural and not said.place)
    return next(below, picture.folders[depth])


def _first_unknown(picture: _Picture, says: Sequence[Meaning]) -> str | None:
    """The first name below the split that is no place, else the first that is no known word."""
    names = list(zip(picture.folders, says, strict=True))
    split = next((d for d, said in enumerate(says) if said.split), -1)
    found = [(name, said) for name, said in names[split + 1 :] if not said.structural]
    return next((n for n, said in found if not said.place), found[0][0] if found else None)


def _is_other_sensor(picture: _Picture, spoken: Spoken) -> bool:
    """Depth or point clouds beside the folder `rgb` of the same part, as in MVTec 3D-AD."""
    for depth, name in enumerate(picture.folders):
        beside = {other.lower() for other in spoken[picture.folders[:depth]]}
        if name.lower() in ("xyz", "depth", "pcd") and "rgb" in beside:
            return True
    return False


def _say_by_file_names(folder: _Folder, masks_by_content: frozenset[Path]) -> None:
    """`x_mask.png` beside `x.png` is a mask; `ok_1.png` beside `ng_1.png` are classes."""
    beside: dict[tuple[str, ...], dict[str, int]] = defaultdict(Counter)
    for picture in folder.pictures:
        beside[picture.folders][picture.stem] += picture.use != _MASK
    everywhere = {picture.stem for picture in folder.pictures}
    for picture in folder.of(_GOOD, _DEFECT, _ASSUMED, _UNLABELLED, _UNCLEAR, _LOOSE):
        stems = beside[picture.folders]
        owners = any(stems[stem] for stem in mask_stems(picture.stem)[1:])
        twin = stems[picture.stem] > 1 and looks_like_mask(picture.path)  # x.png beside x.jpg
        if owners or twin or picture.path in masks_by_content:
            picture.use = _MASK
        elif (match := _OF_PREDICT.fullmatch(picture.stem)) and match[1] in everywhere:
            picture.use = _DERIVED
    for use in (_ASSUMED, _UNLABELLED):
        _classes_in_file_names(folder, folder.of(use))


def _classes_in_file_names(folder: _Folder, pictures: list[_Picture]) -> None:
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
            picture.use = _GOOD
        elif said[picture.path].defect:
            picture.use, picture.kind = _DEFECT, "defect"
        else:
            picture.use = _UNCLEAR
    folder.remarks.append(f"the name of {example} says more than others do")


def _give_masks(folder: _Folder) -> None:
    """Find the picture of each mask: same name, and folders that agree."""
    pictures = defaultdict(list)
    for picture in folder.of(_GOOD, _DEFECT, _ASSUMED, _UNLABELLED, _UNCLEAR, _LOOSE):
        pictures[picture.stem].append(picture)
    for mask in folder.of(_MASK):
        owner = _owner(mask, pictures)
        if owner is not None:
            owner.masks.append(mask.path)
            mask.belongs = True


def _owner(mask: _Picture, pictures: dict[str, list[_Picture]]) -> _Picture | None:
    if mask.folders:  # several masks of one picture lie in a folder of its name, as in MVTec LOCO
        named = pictures.get(mask.folders[-1].lower(), [])
        found = _agreeing(mask, mask.key[:-1], [p for p in named if p.key == mask.key[:-1]])
        if found is not None:
            return found
    for stem in mask_stems(mask.stem):
        found = _agreeing(mask, mask.key, pictures.get(stem, []))
        if found is not None:
            return found
    return None


def _agreeing(mask: _Picture, key: tuple[str, ...], candidates: list[_Picture]) -> _Picture | None:
    """The one picture whose folders agree best with the mask's; None where two agree alike."""
    possible = [p for p in candidates if mask.split in (None, p.split)]
    if not possible:
        return None
    scores = [_agreement(mask, key, picture) for picture in possible]
    best = [p for p, score in zip(possible, scores, strict=True) if score == max(scores)]
    return best[0] if len(best) == 1 else None


def _agreement(mask: _Picture, key: tuple[str, ...], picture: _Picture) -> tuple[int, int, int]:
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
        int(picture.use == (_GOOD if of_good else _DEFECT)),
        -abs(len(key) - len(picture.key)),
    )


def _say_by_annotations(folder: _Folder) -> None:
    """Pictures in which a file of annotations marks objects are of a class, but of which?"""
    if not folder.of(_ASSUMED, _UNLABELLED):
        return
    found = find_annotations(folder.files, {p.path for p in folder.of(_ASSUMED, _UNLABELLED)})
    if found is None:
        return
    file, marked = found
    folder.remarks.append(f"{relative_name(folder.root, file)} says what pictures show")
    for picture in folder.of(_ASSUMED):
        if picture.path in marked or picture.split != TRAIN:
            picture.use = _UNCLEAR


def _settle(folder: _Folder, spoken: Spoken) -> None:
    """Decide on the pictures of which no name says anything, now that the others are known."""
    for split in (TRAIN, TEST, None):
        silent = [p for p in folder.of(_ASSUMED, _UNLABELLED) if p.split == split]
        _decide_by_masks(folder, silent)
    _settle_training(folder, spoken)
    given = any(p.split == TRAIN for p in folder.pictures if p.use != _MASK)
    told = folder.of(_GOOD, _DEFECT, _UNCLEAR, _UNLABELLED, _MASK, _BY_MASK)
    if given or any(not p.by_role and not p.belongs for p in told):
        for picture in folder.of(_ASSUMED):
            picture.use = _LOOSE if given or _any_good(spoken[picture.folders]) else _UNCLEAR
    _remark_on_unknown_folders(folder, spoken)


def _decide_by_masks(folder: _Folder, silent: list[_Picture]) -> None:
    """Masks say which pictures are defective if every one has one; else nothing does."""
    masked = [picture for picture in silent if picture.masks]
    if not masked:
        return
    lists = {f.parent for f in folder.files.others if f.name.lower() == "labels.txt"}  # DAGM
    masks = {p.path: p for p in folder.of(_MASK)}
    for picture in silent:
        listed = any(picture.path.parent in (f, f.parent) for f in lists)
        if listed:
            picture.use, picture.kind = (_DEFECT, "defect") if picture.masks else (_GOOD, GOOD)
        elif len(masked) == len(silent) and _meant(picture, masks):
            picture.use = _BY_MASK
        elif picture.use == _ASSUMED:
            picture.use = _UNCLEAR


def _meant(picture: _Picture, masks: dict[Path, _Picture]) -> bool:
    """Whether a mask is meant for it: it lies beside the picture, or beside its folder."""
    return bool(picture.folders) or any(
        masks[m].by_role or masks[m].folders == picture.folders for m in picture.masks
    )


def _settle_training(folder: _Folder, spoken: Spoken) -> None:
    """Below `train`, folders named after days or cameras are good; other names may be classes."""
    for picture in folder.of(_ASSUMED):
        if picture.split != TRAIN:
            continue
        says = [spoken[picture.folders[:d]][name] for d, name in enumerate(picture.folders)]
        known = all(said.split or said.structural or said.place for said in says)
        picture.use = _GOOD if known else _UNCLEAR


def _remark_on_unknown_folders(folder: _Folder, spoken: Spoken) -> None:
    """Neighbouring folders of which no name is known are good, and a person is told so."""
    assumed = folder.of(_ASSUMED)
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


def _expect_masks(folder: _Folder) -> None:
    """A picture without a mask is worth a word where others of its defect have one."""
    with_masks = {p.kind for p in folder.of(_DEFECT) if p.masks}
    for picture in folder.of(_DEFECT):
        picture.mask_expected = picture.kind in with_masks


def _said(root: Path, roles: FolderRoles) -> dict[Path, str]:
    """By folder, what a person said that it holds."""
    named = ((roles.normal, _GOOD), (roles.defects, _DEFECT), (roles.masks, _MASK))
    return {_role_folder(root, text): use for texts, use in named for text in texts}


def _say_by_roles(picture: _Picture, said: dict[Path, str]) -> bool:
    """The nearest folder that was named says what the picture is; masks below it stay masks."""
    around = [folder for folder in said if picture.path.is_relative_to(folder)]
    if not around:
        return False
    nearest = max(around, key=lambda folder: len(folder.parts))
    below = picture.path.relative_to(nearest).parts[:-1]
    inside = [meaning(name) for name in below]
    picture.use, picture.by_role = said[nearest], True
    picture.key = tuple(name.lower() for name in below)
    if any(each.mask for each in inside):
        picture.use = _MASK
    picture.split = {_GOOD: TRAIN, _DEFECT: TEST}.get(picture.use)
    if picture.use == _DEFECT:
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


def _told(picture: _Picture) -> str:
    """A picture's use, for the table."""
    if picture.use == _MASK and not picture.belongs:
        return "used for nothing: masks without a picture"
    return {
        _GOOD: "good, for testing" if picture.split == TEST else "good, for training",
        _DEFECT: f"defective ({picture.kind}), for testing",
        _MASK: "masks",
        _DERIVED: "used for nothing: made from other pictures, or by another sensor",
        _ASSUMED: "good, for training (nothing says otherwise)",
        _BY_MASK: "good or defective, as each mask says",
        _UNLABELLED: "used for nothing: nothing says whether they are good",
        _LOOSE: "used for nothing: not in a folder that says what they are",
        _UNCLEAR: "not clear: good or defective?",
    }[picture.use]


def _is_unused(picture: _Picture) -> bool:
    unused = picture.use in (_DERIVED, _UNLABELLED, _LOOSE)
    return unused or (picture.use == _MASK and not picture.belongs)


def _telling_folder(folder: _Folder) -> str:
    """The folder whose name made it more than a folder of good images."""
    for picture in folder.of(_DEFECT, _MASK, _UNLABELLED, _UNCLEAR, _GOOD):
        for name in picture.folders:
            said = meaning(name)
            if said.defect or said.mask or said.unclear or said.split:
                return f"a folder '{name}'"
    return "pictures of defects or masks"


def _layout(folder: _Folder) -> str:
    """A name for the table; it decides nothing."""
    names = {name.lower() for p in folder.pictures for name in p.folders}
    if "test_public" in names:
        return "MVTec AD 2"
    if any(meaning(name).split == "train" for name in names):
        return "MVTec AD" if "train" in names else "train and test folders"
    if {"data", "images", "masks"} <= names:
        return "VisA"
    if folder.of(_BY_MASK):
        return "images with masks"
    return "good and defect folders" if folder.of(_GOOD, _DEFECT) else "folder of normal images"


def _has_train_folder(root: Path) -> bool:
    return any(f.is_dir() and meaning(f.name).split == "train" for f in root.iterdir())


def _refuse_collection(folder: _Folder) -> None:
    """The parent of several datasets is no dataset: training on all would be wrong."""
    good = [p.folders for p in folder.of(_GOOD, _ASSUMED) if p.folders and not p.by_role]
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
