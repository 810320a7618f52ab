"""Find out what a folder holds: good pictures, defects, masks, and what belongs to what.

The names of folders and files say it (see `words`). A picture below `train` and `good` is used for
training, one below `test/crack` for testing, and one below `ground_truth` is a mask. These rules
read the layouts of public data sets and of other tools. Folders that look like classes or masks but
are not clear are refused, with a list of what each folder would be used for. Only lists are opened
here; `checks` looks at the pictures.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from uad.data.layouts.naming import read_names
from uad.data.layouts.pictures import Use
from uad.data.listing import FolderRoles, ListedImage, Listing, folder_uses
from uad.data.manifests import UNCLEAR, manifest_in, read_manifest, read_paddlex_lists
from uad.data.samples import GOOD
from uad.data.words import meaning
from uad.errors import DataError
from uad.images.folders import FolderFiles, list_files, no_images


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
    files = list_files(path)
    if not roles and (file := manifest_in(path)):
        return _with_unlisted(read_manifest(path, file), files)
    if not roles and (path / "train.txt").is_file() and not _has_train_folder(path):
        return _with_unlisted(read_paddlex_lists(path), files)
    if not files.images:
        raise DataError(no_images(path, files))
    return read_names(path, files, roles or FolderRoles(), masks_by_content).listing()


def _with_unlisted(listing: Listing, files: FolderFiles) -> Listing:
    """The listing, and the pictures of the folder that its list does not name."""
    listed = [path for image in listing.images for path in (image.path, image.mask) if path]
    named = {path.resolve() for path in (*listed, *listing.unlabelled)}
    left = [file for file in files.images if file.resolve() not in named]
    unlisted = ((file, "used for nothing: the list does not name them", True) for file in left)
    unused = folder_uses(listing.root, unlisted)
    return replace(listing, folders=(*listing.folders, *unused))


def proposal(path: Path, roles: FolderRoles | None = None) -> Iterator[dict[str, str]]:
    """The rows of a manifest for a person to correct: every picture, with `?` where unclear.

    Paths are absolute. Masks are named beside their pictures; other masks are left out.
    """
    path = path.expanduser()
    if not path.is_dir() or manifest_in(path) or (path / "train.txt").is_file():
        yield from (_row(image, image.defect) for image in find(path, roles).images)
        return
    read = read_names(path, list_files(path), roles or FolderRoles(), frozenset())
    for picture in read.pictures:
        if picture.use in (Use.MASK, Use.DERIVED):
            continue
        known = {Use.GOOD: GOOD, Use.ASSUMED: GOOD, Use.DEFECT: picture.kind, Use.BY_MASK: ""}
        yield _row(picture.listed(read.root), known.get(picture.use, UNCLEAR))


def _row(image: ListedImage, label: str) -> dict[str, str]:
    mask = "" if image.mask is None else str(image.mask.absolute())
    split = image.split if label not in (UNCLEAR, "") else ""
    return {"path": str(image.path.absolute()), "label": label, "mask": mask, "split": split}


def _has_train_folder(root: Path) -> bool:
    return any(f.is_dir() and meaning(f.name).split == "train" for f in root.iterdir())
