"""Files that note what pictures show: COCO, YOLO, LabelMe, Pascal VOC, and tables of labels.

They mark objects or name classes, and uad cannot know which are defects. They are only recognised,
so that their pictures are not taken for good ones.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

from uad.data.layouts.tables import SUFFIXES, labelled_names
from uad.images.folders import FolderFiles

_YOLO = re.compile(r"\s*\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_SHORTEST_STEM = 5
"""Shorter names of files may be any other number or word of a table."""
_MOST_BYTES = 64 * 2**20
"""Of a file of annotations; larger ones are of another kind."""


def find_annotations(
    files: FolderFiles, images: set[Path], *, reads_text: bool = True
) -> tuple[Path, set[Path]] | None:
    """A file of annotations and the images in which such files mark something; None without any.

    `reads_text`: whether text files may be tables. Beside masks they say which mask is whose.
    """
    by_stem, by_name = defaultdict(set), defaultdict(set)
    for image in images:
        by_stem[image.stem].add(image)
        by_name[image.name].add(image)
    first: Path | None = None
    marked: set[Path] = set()
    for file in files.others:
        suffix = file.suffix.lower()
        found: set[Path] = set()
        if suffix in (".json", ".xml", ".txt") and file.stem in by_stem and _marks_objects(file):
            found |= by_stem[file.stem]
        named = _coco_names(file) if suffix == ".json" else set()
        if suffix in SUFFIXES and (suffix != ".txt" or reads_text):
            known = by_name.keys() | {stem for stem in by_stem if _is_long(stem)}
            named = {*named, *labelled_names(suffix, _text(file), known)}
        for name in named:
            found |= by_name.get(name, set())
            if _is_long(name):  # a table may leave out the suffix
                found |= by_stem.get(name, set())
        if found:
            first, marked = first or file, marked | found
    return None if first is None else (first, marked)


def _is_long(stem: str) -> bool:
    return len(stem) >= _SHORTEST_STEM


def _marks_objects(file: Path) -> bool:
    """Whether a file beside one picture marks an object in it."""
    text = _text(file)
    if file.suffix.lower() == ".txt":
        return any(_YOLO.fullmatch(line) for line in text.splitlines())
    if file.suffix.lower() == ".xml":
        return "<annotation" in text and "<object" in text
    content = _json(text)
    return isinstance(content, dict) and bool(content.get("shapes"))


def _coco_names(file: Path) -> set[str]:
    """File names of the pictures that a COCO file has annotations of."""
    content = _json(_text(file))
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        return set()
    wanted = {each.get("image_id") for each in content["annotations"] if isinstance(each, dict)}
    return {
        Path(str(image.get("file_name", ""))).name
        for image in content.get("images", [])
        if isinstance(image, dict) and image.get("id") in wanted
    }


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return ""
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""
