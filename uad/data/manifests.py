"""Layouts that name their images in a file: PaddleX's lists, CSV and JSON Lines manifests."""

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from uad.data.label_columns import says_label
from uad.data.listing import TEST, TRAIN, ListedImage, Listing, folder_uses, relative_name
from uad.data.samples import GOOD
from uad.data.words import meaning
from uad.errors import DataError
from uad.images import SUFFIXES

UNCLEAR = "?"
"""The label of an image that a person has to decide, in a manifest that uad wrote."""
_MANIFESTS = ("manifest.csv", "manifest.jsonl")
_COLUMNS = {
    "path": "path", "image": "path", "filename": "path", "image_path": "path", "label": "label",
    "class": "label", "defect": "defect", "mask": "mask", "mask_path": "mask", "split": "split",
}  # fmt: skip
"""Columns that are read, also under the names of other tools."""
_SPLITS = {"train": TRAIN, "test": TEST, "val": TEST, "valid": TEST, "validation": TEST}
_NORMAL = frozenset({"0", "0.0", "false"})
_ANOMALOUS = frozenset({"1", "1.0", "true"})

_NONE = frozenset({"", "-", "none", "nan", "null", "na", "n/a"})
"""What tools write into a cell without a value."""

Row = Mapping[str, str]


def read_paddlex_lists(root: Path) -> Listing:
    """PaddleX's and PaddleSeg's train.txt, val.txt (and test.txt): `image mask` per line.

    There are no labels: an image is anomalous if its mask marks something. PaddleX's own converter
    gives a training image itself as its mask, which says nothing and is ignored. A test image
    without a mask is not used: nothing says whether it is good.
    """
    images: list[ListedImage] = []
    missing: list[Path] = []
    silent: list[ListedImage] = []
    for file, split in (("train.txt", TRAIN), ("val.txt", TEST), ("test.txt", TEST)):
        for line in _lines(root / file):
            image, mask = _two_paths(root, line)
            if not image.is_file():
                missing.append(image)
                continue
            mask = None if mask is not None and mask.is_file() and mask.samefile(image) else mask
            name = relative_name(root, image)
            decides = mask is not None
            listed = ListedImage(image, name, split, GOOD, mask, mask_decides=decides)
            (images if decides or split == TRAIN else silent).append(listed)
    return _listing(root, root / "train.txt", "PaddleX lists", images, missing, silent)


def read_manifest(root: Path, file: Path) -> Listing:
    """A CSV or JSON Lines file: path, and optionally label, defect, mask, split.

    Paths are relative to the manifest. `label` is 0/1, good/bad, or the defect's name; without a
    split, normal images train and anomalous ones test.
    """
    images: list[ListedImage] = []
    missing: list[Path] = []
    silent: list[ListedImage] = []
    rows = list(_rows(file))
    labelled = _check_columns(file, [row for _, row in rows])
    for number, row in rows:
        where = f"{file} line {number}"
        if not row.get("path"):
            raise DataError(f"{where} has no path; every line names an image")
        path = place(root, row["path"])
        if not path.is_file():
            missing.append(path)
            continue
        image = _image(root, path, row, where)
        if labelled and not _says_class(row):
            raise DataError(
                f"{where} has no label, but other lines have one. Write good, or what the defect "
                "is called; or remove the line."
            )
        (images if _says_class(row) or image.split == TRAIN else silent).append(image)
    return _listing(root, file, f"manifest {file.name}", images, missing, silent)


def manifest_in(root: Path) -> Path | None:
    """The manifest of a folder: manifest.csv or manifest.jsonl."""
    return next((root / name for name in _MANIFESTS if (root / name).is_file()), None)


def write_manifest(file: Path, rows: Iterable[Row]) -> list[dict[str, str]]:
    """Write a CSV manifest with the columns path, label, mask and split; returns its rows.

    Absolute paths below the manifest's own folder are written relative to it.
    """
    folder = file.parent.absolute()
    written = [{**row, **{k: _from(folder, row[k]) for k in ("path", "mask")}} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, ("path", "label", "mask", "split"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(written)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text.getvalue(), encoding="utf-8")
    return written


def _from(folder: Path, path: str) -> str:
    return relative_name(folder, Path(path)) if path else ""


def labels_file(file: Path) -> bool:
    """Whether a CSV file names images and labels them, so that it can be used as a manifest."""
    try:
        header = file.read_text(encoding="utf-8-sig").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return False
    columns = {
        _COLUMNS.get(name.strip().strip('"').lower())
        for name in header.replace(";", ",").split(",")
    }
    return {"path"} < columns and bool({"label", "defect"} & columns)


def place(root: Path, text: str) -> Path:
    r"""The file that a list means; `images\000.png`, as Windows writes it, is images/000.png.

    A letter with an accent is one character or two, as the system wrote it: both mean the same.
    """
    plain = text.replace("\\", "/")
    spellings = (text, plain, *(unicodedata.normalize(form, plain) for form in ("NFC", "NFD")))
    return next((root / each for each in spellings if (root / each).is_file()), root / plain)


def _image(root: Path, path: Path, row: Row, where: str) -> ListedImage:
    defect = _defect(row, where)
    given = row.get("split", "").lower()
    split = given or (TRAIN if defect == GOOD else TEST)
    if split not in _SPLITS:
        raise DataError(f"{where}: split '{split}' is unknown; write train or test")
    return ListedImage(
        path=path,
        name=relative_name(root, path),
        split=_SPLITS[split],
        defect=defect,
        mask=place(root, row["mask"]) if row.get("mask") else None,
        mask_decides=not _cell(row, "label") and not row.get("defect") and bool(row.get("mask")),
        split_given=bool(given),
    )


def _check_columns(file: Path, rows: Sequence[Row]) -> bool:
    """Whether the lines have labels; refuses a list whose labels stand in a column not read."""
    known = {key for row in rows for key in row} & set(_COLUMNS.values())
    if known & {"label", "defect", "mask"}:
        return any(_cell(row, "label") for row in rows) or "label" in known
    for name in dict.fromkeys(key for row in rows for key in row if key not in known):
        if says_label(name, [row.get(name, "") for row in rows]):
            raise DataError(
                f"{file}: the column '{name}' seems to say which images are good, but is not read. "
                "Write a column 'label' instead: good or 0, bad or 1, or what the defect is "
                "called. If it means something else, remove it."
            )
    return False


def _says_class(row: Row) -> bool:
    return bool(_cell(row, "label") or row.get("defect") or row.get("mask"))


def _cell(row: Row, column: str) -> str:
    """The cell; empty where it holds no value."""
    text = row.get(column, "")
    return "" if text.lower() in _NONE else text


def _defect(row: Row, where: str) -> str:
    label, defect = _cell(row, "label"), _cell(row, "defect")
    if UNCLEAR in (label, defect):
        raise DataError(
            f"{where}: the label is '{UNCLEAR}'; write good, or what the defect is called"
        )
    if label and defect and _is_normal(label) != _is_normal(defect):
        raise DataError(
            f"{where}: the label is '{label}' but the defect is '{defect}'. One says good, the "
            "other defective. Correct one."
        )
    if (not label or _is_normal(label)) and (not defect or _is_normal(defect)):
        return GOOD
    plain = label.lower() in _ANOMALOUS or label.lower() in (
        "defect",
        "bad",
        "ng",
        "anomaly",
        "anomalous",
    )
    return defect or ("defect" if plain else label)


def _is_normal(text: str) -> bool:
    return text.lower() in _NORMAL or meaning(text).good


def _rows(file: Path) -> Iterator[tuple[int, Row]]:
    """Line numbers and rows with lower-case column names and text values, read or not."""
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
    names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    columns = [_COLUMNS.get(name, name) for name in names]
    if "path" not in columns:
        raise DataError(
            f"{file} has no column 'path'; its first line names the columns, of which these are "
            "read: defect, label, mask, path, split"
        )
    reader.fieldnames = [c if columns.index(c) == i else "" for i, c in enumerate(columns)]
    for row in reader:
        yield reader.line_num, {k: (row[k] or "").strip() for k in columns if k}


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as exc:
            raise DataError(f"{file} line {number} is not JSON: {exc}") from exc
        if not isinstance(row, dict):
            raise DataError(f'{file} line {number} is not a JSON object; write {{"path": ...}}')
        known = {_COLUMNS.get(str(k).lower(), str(k).lower()): v for k, v in row.items()}
        yield number, {k: str(v).strip() for k, v in known.items() if k and v is not None}


def _lines(file: Path) -> Iterator[str]:
    if file.is_file():
        yield from (line.strip() for line in _text(file).splitlines() if line.strip())


def _two_paths(root: Path, line: str) -> tuple[Path, Path | None]:
    """Split `image mask` where it makes two files that exist; names may hold spaces."""
    whole = place(root, line)
    if whole.is_file():
        return whole, None
    cuts = [index for index, letter in enumerate(line) if letter in " \t,"]
    pairs = [(place(root, line[:c].strip()), place(root, line[c + 1 :].strip())) for c in cuts]
    for image, mask in pairs:
        if image.is_file() and mask.is_file():
            return image, mask
    found = [pair for pair in pairs if pair[0].is_file()]
    if not found:
        return (pairs[0][0] if pairs else whole), None
    image, mask = found[-1]
    if mask.suffix.lower() in SUFFIXES:
        return image, mask
    raise DataError(
        f"{root}: the list has the line '{line}', but a line must be an image and its mask, if it "
        "has one; put labels into a manifest.csv with the columns path and label"
    )


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
    root: Path,
    file: Path,
    layout: str,
    images: list[ListedImage],
    missing: list[Path],
    silent: list[ListedImage],
) -> Listing:
    """`silent` are test images of which nothing says whether they are good."""
    if not images and not silent:
        gone = f"; {missing[0]} does not exist" if missing else ""
        raise DataError(f"none of the images in {file} exists{gone}; paths are relative to {root}")
    told = "used for nothing: nothing says whether they are good"
    uses = [(image.path, _use(image), False) for image in images]
    uses += [(image.path, told, True) for image in silent]
    return Listing(
        root,
        layout,
        tuple(images),
        missing=tuple(missing),
        unlabelled=tuple(image.path for image in silent),
        folders=folder_uses(root, uses),
    )


def _use(image: ListedImage) -> str:
    if image.mask_decides:
        return f"{image.split}: the mask decides"
    return f"{image.split}: {image.defect}"
