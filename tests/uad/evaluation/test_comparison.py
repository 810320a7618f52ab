from pathlib import Path

import numpy as np
import pytest

from uad.data import Sample
from uad.errors import DataError
from uad.evaluation import Report, compare, evaluate, write_comparison
from uad.evaluation.comparison import changes

from .conftest import Brightness, Constant


class Blurred(Brightness):
    """Sees half of the picture only."""

    def map(self, image: np.ndarray) -> np.ndarray:
        values = super().map(image)
        values[:, 30:] = 0.2
        return values


def test_a_detector_that_sees_beats_one_that_does_not(tiles: list[Sample]) -> None:
    seeing, blind = evaluate(Brightness(), tiles), evaluate(Constant(0.2), tiles)
    found = compare(seeing, blind)
    assert found["image_auroc"].low > 0
    assert found["pixel_auroc"].low > 0
    assert found["aupro"].difference == pytest.approx((seeing.aupro or 0) - (blind.aupro or 0))


def test_reports_from_json_compare_by_images_alone(tiles: list[Sample]) -> None:
    a = Report.from_json(evaluate(Brightness(), tiles).to_json())
    found = compare(a, evaluate(Blurred(), tiles))
    assert "image_auroc" in found
    assert "pixel_auroc" not in found


def test_reports_about_other_images_are_refused(tiles: list[Sample]) -> None:
    a, b = evaluate(Brightness(), tiles), evaluate(Brightness(), tiles[:-1])
    with pytest.raises(DataError, match="different test images"):
        compare(a, b)


def test_the_page_says_which_is_better_and_shows_what_changed(
    tiles: list[Sample], tmp_path: Path
) -> None:
    detectors = (Brightness(), Constant(0.2))
    a, b = (evaluate(detector, tiles) for detector in detectors)
    pages = write_comparison(
        a, b, tmp_path, names=("new", "old"), detectors=detectors, samples=tiles
    )
    html = pages["comparison.html"].read_text(encoding="utf-8")
    changed = changes(a, b)
    assert changed
    assert "new is better" in html
    assert "://" not in html
    assert all(change.a.name in html for change in changed)


def test_without_pictures_the_page_lists_what_changed(tiles: list[Sample], tmp_path: Path) -> None:
    a, b = evaluate(Brightness(), tiles), evaluate(Constant(0.2), tiles)
    html = write_comparison(a, b, tmp_path)["comparison.html"].read_text(encoding="utf-8")
    assert all(change.a.name in html for change in changes(a, b))


def test_a_detector_against_itself_changes_nothing(tiles: list[Sample], tmp_path: Path) -> None:
    a = evaluate(Brightness(), tiles)
    html = write_comparison(a, a, tmp_path)["comparison.html"].read_text(encoding="utf-8")
    assert "no metric differs" in html
    assert "same verdict on every image" in html
