"""Files in which labelling tools note what a picture shows: COCO, YOLO, LabelMe, Pascal VOC.

They mark objects, and uad cannot know which objects are defects. They are only recognised, so that
their pictures are not taken for good ones.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

from uad.image_files import FolderFiles

_YOLO = re.compile(r"\s*\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_MOST_BYTES = 64 * 2**20
"""Of a file of annotations; larger ones are of another kind."""


def find_annotations(files: FolderFiles, images: set[Path]) -> tuple[Path, set[Path]] | None:
    """A file of annotations and the images in which such files mark something; None without any."""
    by_stem, by_name = defaultdict(set), defaultdict(set)
    for image in images:
        by_stem[image.stem].add(image)
        by_name[image.name].add(image)
    first: Path | None = None
    marked: set[Path] = set()
    for file in files.others:
        if file.suffix.lower() not in (".json", ".xml", ".txt"):
            continue
        if file.suffix.lower() != ".json" and file.stem not in by_stem:
            continue
        found = by_stem.get(file.stem, set()) if _marks_objects(file) else set()
        for name in _coco_names(file):
            found |= by_name.get(name, set())
        if found:
            first, marked = first or file, marked | found
    return None if first is None else (first, marked)


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
    if file.suffix.lower() != ".json":
        return set()
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
