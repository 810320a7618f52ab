"""Layouts that name their images in a file: PaddleX's lists, CSV and JSON Lines manifests."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from uad.data.layouts import NORMAL_NAMES, TEST, TRAIN, Item, Listing, relative_name
from uad.data.samples import GOOD
from uad.errors import DataError

_MANIFESTS = ("manifest.csv", "manifest.jsonl")
_COLUMNS = {"path", "label", "defect", "mask", "split"}
_SPLITS = {"train": TRAIN, "test": TEST, "val": TEST, "valid": TEST, "validation": TEST}
_NORMAL = NORMAL_NAMES | {"0", "0.0", "false", "ok"}
_ANOMALOUS = frozenset({"1", "1.0", "true", "bad", "ng", "defect", "anomaly", "anomalous"})

Row = Mapping[str, str]


def paddlex(root: Path) -> Listing:
    """PaddleX's and PaddleSeg's train.txt, val.txt (and test.txt): `image mask` a line.

    There are no labels: an image is anomalous if its mask marks something. PaddleX's own converter
    gives a training image itself as its mask, which says nothing and is ignored.
    """
    items, missing = [], []
    for file, split in (("train.txt", TRAIN), ("val.txt", TEST), ("test.txt", TEST)):
        for line in _lines(root / file):
            image, mask = _two_paths(root, line)
            if not image.is_file():
                missing.append(image)
                continue
            mask = None if mask is not None and mask.samefile(image) else mask
            name = relative_name(root, image)
            items.append(Item(image, name, split, GOOD, mask, mask_decides=mask is not None))
    return _listing(root, root / "train.txt", "PaddleX lists", items, missing)


def manifest(root: Path, file: Path) -> Listing:
    """A CSV or JSON Lines file: path, and optionally label, defect, mask, split.

    Paths are relative to the manifest. `label` is 0/1, good/bad, or the defect's name; without a
    split, normal images train and anomalous ones test.
    """
    items, missing = [], []
    for number, row in _rows(file):
        if not row.get("path"):
            raise DataError(f"{file} line {number} has no path; every line names an image")
        path = root / row["path"]
        if not path.is_file():
            missing.append(path)
            continue
        items.append(_item(root, path, row, f"{file} line {number}"))
    return _listing(root, file, f"manifest {file.name}", items, missing)


def manifest_in(root: Path) -> Path | None:
    """The manifest of a folder: manifest.csv or manifest.jsonl."""
    return next((root / name for name in _MANIFESTS if (root / name).is_file()), None)


def _item(root: Path, path: Path, row: Row, where: str) -> Item:
    defect = _defect(row)
    split = row.get("split", "").lower() or (TRAIN if defect == GOOD else TEST)
    if split not in _SPLITS:
        raise DataError(f"{where}: split '{split}' is unknown; write train or test")
    mask = root / row["mask"] if row.get("mask") and defect != GOOD else None
    return Item(path, relative_name(root, path), _SPLITS[split], defect, mask)


def _defect(row: Row) -> str:
    label, defect = row.get("label", ""), row.get("defect", "")
    if (label.lower() in _NORMAL or not label) and (defect.lower() in _NORMAL or not defect):
        return GOOD
    return defect or ("defect" if label.lower() in _ANOMALOUS else label)


def _rows(file: Path) -> Iterator[tuple[int, Row]]:
    """Line numbers and rows with lower-case column names and text values."""
    kind = file.suffix.lower()
    if kind not in (".csv", ".jsonl", ".ndjson"):
        raise DataError(
            f"{file} is neither a folder nor a .csv or .jsonl manifest; "
            "name the folder that holds the images"
        )
    text = _text(file)
    if kind != ".csv":
        yield from _json_rows(file, text)
        return
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in header else ",")
    columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    if "path" not in columns:
        raise DataError(
            f"{file} has no column 'path'; its first line names the columns, of which these are "
            f"read: {', '.join(sorted(_COLUMNS))}"
        )
    reader.fieldnames = columns
    for row in reader:
        yield reader.line_num, {k: (row[k] or "").strip() for k in _COLUMNS if k in row}


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as exc:
            raise DataError(f"{file} line {number} is not JSON: {exc}") from exc
        if not isinstance(row, dict):
            raise DataError(f'{file} line {number} is no JSON object; write {{"path": ...}}')
        values = {str(key).lower(): value for key, value in row.items() if value is not None}
        yield number, {k: str(values[k]).strip() for k in _COLUMNS if k in values}


def _lines(file: Path) -> Iterator[str]:
    if file.is_file():
        yield from (line.strip() for line in _text(file).splitlines() if line.strip())


def _two_paths(root: Path, line: str) -> tuple[Path, Path | None]:
    """Split `image mask` where it makes two files that exist; names may hold spaces."""
    whole = root / line
    if whole.is_file():
        return whole, None
    cuts = [index for index, letter in enumerate(line) if letter in " \t,"]
    pairs = [(root / line[:cut].strip(), root / line[cut + 1 :].strip()) for cut in cuts]
    for image, mask in pairs:
        if image.is_file() and mask.is_file():
            return image, mask
    found = [pair for pair in pairs if pair[0].is_file()]
    return found[-1] if found else (pairs[0][0] if pairs else whole, None)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(f"{file} is not UTF-8 text; save it as UTF-8") from exc
    except OSError as exc:
        raise DataError(
            f"cannot read {file}: {exc.strerror or exc}; check its permissions"
        ) from exc


def _listing(
    root: Path, file: Path, layout: str, items: list[Item], missing: list[Path]
) -> Listing:
    if not items:
        gone = f"; {missing[0]} does not exist" if missing else ""
        raise DataError(f"{file} names no image that is there{gone}; paths are relative to {root}")
    return Listing(root, layout, tuple(items), tuple(missing))
