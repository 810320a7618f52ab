import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from uad.data import Sample
from uad.errors import DataError
from uad.evaluation import Report, evaluate, read_report, write_report
from uad.evaluation.explanations import figures
from uad.evaluation.ranking import most_wrong_first, shelves, worst
from uad.evaluation.report_files import PIXELS_FILE

from .conftest import AddSample, Brightness, Constant


class Page(HTMLParser):
    """What a browser would fetch, and the text it would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_but_itself(tiles: list[Sample], tmp_path: Path) -> None:
    files = write_report(evaluate(Brightness(), tiles), tmp_path / "r", Brightness(), tiles)
    html = files["report.html"].read_text(encoding="utf-8")
    page = Page(html)
    assert page.fetched
    assert all(address.startswith("data:image/") for address in page.fetched)
    assert "://" not in html
    assert "url(" not in html
    assert "script" not in page.tags


def test_every_file_is_where_the_answer_says(tiles: list[Sample], tmp_path: Path) -> None:
    files = write_report(evaluate(Brightness(), tiles), tmp_path / "a" / "b", Brightness(), tiles)
    expected = {"report.json", "report.html", "scores.csv", "pixels.npz", "histogram.png"}
    expected |= {"roc.png", "pr.png", "pro.png", "best.png", "worst.png"}
    assert set(files) == expected
    assert all(file.stat().st_size > 0 for file in files.values())
    assert json.loads(files["report.json"].read_text())["n_normal"] == 6


def test_the_page_names_the_mistakes_the_threshold_and_the_source(
    tiles: list[Sample], tmp_path: Path
) -> None:
    report = evaluate(Brightness(), tiles)
    files = write_report(report, tmp_path, Brightness(), tiles)
    text = Page(files["report.html"].read_text(encoding="utf-8")).text
    mistakes = [image.name for image in report.images if image.is_wrong]
    assert mistakes
    for piece in (*mistakes, "0.5 ", "brightness/fp32", report.provenance.bundle, "tiles abc"):
        assert piece in text
    assert text.index(mistakes[0]) < text.index("Clearest verdicts")


def test_every_row_of_the_figures_is_read_at_a_glance_and_the_page_has_the_reasons(
    tiles: list[Sample], tmp_path: Path
) -> None:
    report = evaluate(Brightness(), tiles)
    reason = "because the memory is larger than the student " * 10
    parts = "student (map alone), memory, 0.5 whole image"
    update = {"score": reason, "parts": parts}
    report = report.model_copy(
        update={"provenance": report.provenance.model_copy(update=update)},
    )
    rows = {what: (figure, meaning) for what, figure, meaning in figures(report)}
    assert rows["parts"][0] == parts
    assert max(len(f"{figure} {meaning}") for figure, meaning in rows.values()) < 120
    files = write_report(report, tmp_path, Brightness(), tiles)
    text = Page(files["report.html"].read_text(encoding="utf-8")).text
    assert text.count(reason) == 1


def test_names_from_the_file_system_cannot_become_markup(
    add_sample: AddSample, tmp_path: Path
) -> None:
    picture = np.full((40, 60, 3), 250, np.uint8)
    sample = add_sample("test/<b>odd & 'quoted'</b>/<script>.png", picture, "<script>x")
    report = evaluate(Brightness(), [sample])
    html = write_report(report, tmp_path / "r", Brightness(), [sample])["report.html"].read_text()
    assert "script" not in Page(html).tags
    assert "&lt;script&gt;" in html


def test_good_images_alone_make_a_report_too(tiles: list[Sample], tmp_path: Path) -> None:
    good = [sample for sample in tiles if not sample.label]
    files = write_report(evaluate(Constant(0.2), good), tmp_path, Constant(0.2), good)
    assert "roc.png" not in files
    assert "only good images" in Page(files["report.html"].read_text(encoding="utf-8")).text


def test_scores_csv_has_a_line_for_every_image(tiles: list[Sample], tmp_path: Path) -> None:
    report = evaluate(Brightness(), tiles)
    file = write_report(report, tmp_path, Brightness(), tiles)["scores.csv"]
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == [sample.name for sample in tiles]
    assert float(rows[3]["score"]) == report.images[3].score


def test_a_report_read_back_has_its_pixels(tiles: list[Sample], tmp_path: Path) -> None:
    report = evaluate(Brightness(), tiles)
    write_report(report, tmp_path, Brightness(), tiles)
    back = read_report(tmp_path)
    assert back.with_histograms(()) == report.with_histograms(())
    for one, two in zip(back.histograms, report.histograms, strict=True):
        assert one is not None
        assert two is not None
        assert np.array_equal(one.bins, two.bins)
        assert np.array_equal(one.counts, two.counts)


def test_damaged_pixels_and_a_missing_report_are_named(tiles: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"report\.json could not be read"):
        read_report(tmp_path)
    write_report(evaluate(Brightness(), tiles), tmp_path, Brightness(), tiles)
    (tmp_path / PIXELS_FILE).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match=r"pixels\.npz is damaged"):
        read_report(tmp_path)


def test_the_worst_mistake_comes_first(tiles: list[Sample]) -> None:
    report = evaluate(Brightness(), tiles)
    ordered = most_wrong_first(report)
    wrong = [image.is_wrong for image in ordered]
    assert wrong == sorted(wrong, reverse=True)
    assert any(wrong)
    missed = [image.score for image in ordered if image.is_wrong and image.label]
    assert missed == sorted(missed)


def test_no_image_is_on_two_shelves_of_mistakes_and_luck(tiles: list[Sample]) -> None:
    report: Report = evaluate(Brightness(), tiles)
    found = {shelf.title: {image.name for image in shelf.images} for shelf in shelves(report)}
    assert found["Missed defects"].isdisjoint(found["Close calls"])
    assert all(re.match("test/", name) for names in found.values() for name in names)


def test_the_worst_sheet_shows_both_kinds_of_mistake(
    tiles: list[Sample], add_sample: AddSample
) -> None:
    overexposed = add_sample("test/good/bright.png", np.full((40, 60, 3), 250, np.uint8))
    report = evaluate(Brightness(), [*tiles, overexposed])
    assert report.missed == 2
    shown = worst(report, 4)
    assert [image.is_wrong for image in shown] == [True, True, True, False]
    assert "test/good/bright.png" in [image.name for image in shown[:2]]


def test_images_that_people_called_good_are_shown_and_count_in_no_figure(
    tiles: list[Sample], tmp_path: Path
) -> None:
    detector = Brightness()
    bright = replace(tiles[9], label=0, defect="good", mask=None, said_good=True)
    report = evaluate(detector, tiles)
    files = write_report(report, tmp_path, detector, tiles, normals=[*tiles[:1], bright])
    page = files["report.html"].read_text()
    assert "Called good by people" in page
    assert "Of 1 image that people called good after a false alarm, 1 still raises one." in page
    written = read_report(tmp_path)
    assert [image.name for image in written.said_good] == [bright.name]
    assert (written.false_alarms, written.n_normal) == (report.false_alarms, report.n_normal)
    plain = write_report(report, tmp_path / "plain", detector, tiles, normals=tiles[:1])
    assert "Called good by people" not in plain["report.html"].read_text()
