"""Whether a column of a table of images says which of them are good."""

from collections.abc import Sequence

from uad.data.words import meaning, words_of

_SURE = frozenset(
    {"label", "labels", "class", "classid", "category", "target", "encodedpixels", "pixels"}
    | {"defect", "defects", "defective", "anomaly", "anomalous", "anomalie", "good", "ok", "nok"}
    | {"ng", "bad", "faulty", "reject", "rejected", "klasse", "fehler", "fehlerhaft", "defekt"}
    | {"gut", "schlecht", "defaut", "classe", "defecto", "difetto"}
)
"""A column whose name has one of these words says it, whatever its cells hold."""
_LIKELY = frozenset(
    {"result", "results", "verdict", "judgement", "judgment", "decision", "outcome", "inspection"}
    | {"status", "state", "quality", "grade", "ergebnis", "bewertung", "urteil", "qualitat"}
    | {"resultat", "resultado", "risultato", "qualite", "calidad", "qualita"}
)
"""A column with one of these words says it if its cells tell images apart into a few classes."""
_MOST_CLASSES = 10
_FLAGS = frozenset({"0", "1", "true", "false"})
"""A column without a name says it if it holds two of these."""


def says_label(name: str, cells: Sequence[str]) -> bool:
    """Whether a column says which images are good.

    Args:
        name: of the column; empty if it has none.
        cells: of the other lines; names of images say nothing here, so leave their columns out.
    """
    words = set(words_of(name))
    if words & _SURE:
        return True
    found = {cell.strip().lower() for cell in cells} - {""}
    if not name and len(found) == 2 and found <= _FLAGS:
        return True
    if words & _LIKELY and 1 < len(found) <= _MOST_CLASSES and len(found) < len(cells):
        return True
    return any(_says_defect(cell) for cell in found)


def _says_defect(cell: str) -> bool:
    """Whether a cell is a word for a defect, not a sentence or a name with one in it."""
    said = meaning(cell)
    return said.defect and (said.structural or len(words_of(cell)) == 1)
