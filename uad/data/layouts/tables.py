"""Tables beside images that name them and may say which are good: CSV, text and JSON files."""

import json
import re
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from uad.data.label_columns import says_label

Columns = Sequence[tuple[str, Sequence[str]]]
"""Each a name, empty where the table gives none, and its cells."""
_SEPARATORS = {".csv": r"[,;\t]", ".tsv": r"[,;\t]", ".txt": r"[,;\t ]+"}
_OF_UAD = frozenset({"p_value", "model_version"})
"""Columns of the verdicts that uad itself wrote: a model's word is no label."""
SUFFIXES = frozenset({*_SEPARATORS, ".json", ".jsonl", ".ndjson"})


def labelled_names(suffix: str, text: str, images: Container[str]) -> set[str]:
    """What the cells of a table name, if it names images and has a column of labels.

    Args:
        suffix: of the file, in lower case; one of `SUFFIXES`.
        text: its content.
        images: the names of images, as cells may write them.
    """
    columns = _columns(suffix, text, images)
    if {name for name, _ in columns} >= _OF_UAD:
        return set()
    naming = [any(name_in(cell) in images for cell in cells) for _, cells in columns]
    others = [column for column, names in zip(columns, naming, strict=True) if not names]
    if not any(naming) or not any(says_label(name, cells) for name, cells in others):
        return set()
    return {name_in(cell) for _, cells in columns for cell in cells}


def name_in(cell: str) -> str:
    r"""The file name of a path as any system writes it: `x.png` of `D:\photos\x.png`."""
    return Path(cell.replace("\\", "/")).name


def _columns(suffix: str, text: str, images: Container[str]) -> Columns:
    if separator := _SEPARATORS.get(suffix):
        rows = [_cells(line, separator) for line in text.splitlines() if line.strip()]
        if not rows:
            return ()
        has_header = suffix != ".txt" and not any(name_in(cell) in images for cell in rows[0])
        names = rows[0] if has_header else [""] * max(map(len, rows))
        body = rows[1:] if has_header else rows
        return [(n, [row[i] for row in body if i < len(row)]) for i, n in enumerate(names)]
    lines = [text] if suffix == ".json" else text.splitlines()
    return _of_records([record for line in lines for record in _records(_json(line))])


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().strip('"') for cell in re.split(separator, line.strip())]


def _records(content: object) -> list[Mapping[str, object]]:
    """`{"x.png": "bad"}`, `{"x.png": {"label": 1}}` and `[{"file": "x.png", "label": 1}]`."""
    if isinstance(content, list):
        return [each for each in content if isinstance(each, dict)]
    if not isinstance(content, dict):
        return []
    if any(isinstance(value, list) for value in content.values()):
        return []  # of another kind, such as COCO
    inner = [
        {"file": key, **(value if isinstance(value, dict) else {"": value})}
        for key, value in content.items()
    ]
    return [content, *inner]


def _of_records(records: Sequence[Mapping[str, object]]) -> Columns:
    columns: dict[str, list[str]] = defaultdict(list)
    for record in records:
        for name, value in record.items():
            if isinstance(value, str | int | float):
                columns[name].append(str(value))
    return list(columns.items())


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
