import csv
import json
from pathlib import Path

import pytest

from uad.errors import ConfigError
from uad.scoring.regions import Region, Regions
from uad.scoring.verdicts import (
    COLUMNS,
    FileNames,
    Verdict,
    regions_of,
    spreadsheet_text,
    verdict_file,
)
from uad.scoring.zone_alpha import ZoneVerdict

SMALL = Region(box=(1, 2, 3, 4), area=9, score=8.0, centre=(2.0, 3.5))
LARGE = Region(box=(10, 20, 30, 40), area=900, score=7.0, centre=(25.0, 40.0))
BOTH = Regions((SMALL, LARGE))


def verdict(name: str = "a.png", regions: Regions = BOTH) -> Verdict:
    return Verdict(
        name=name,
        is_anomalous=bool(regions.count),
        score=8.0,
        threshold=6.5,
        alpha=0.05,
        requested_alpha=None,
        shortfall="",
        p_value=0.05,
        raised_by="memory" if regions.count else None,
        zones=(ZoneVerdict("rim", 1.0, 2.0, 0.01), ZoneVerdict("logo", 3.0, 2.0, 0.02)),
        regions=regions,
        model_version="3",
        warnings=(),
        extra={"log_id": "x"},
    )


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_line_says_name_verdict_figures_regions_and_version() -> None:
    assert verdict().line() == (
        "a.png: ANOMALOUS  score 8  threshold 6.5  p 0.05  by memory  2 regions  version 3"
    )
    assert verdict(regions=Regions()).line() == (
        "a.png: normal  score 8  threshold 6.5  p 0.05  version 3"
    )


def test_json_says_all_of_it_and_more() -> None:
    values = json.loads(verdict().as_json())
    assert values["regions"][1] == {
        "box": [10, 20, 30, 40],
        "area": 900,
        "score": 7.0,
        "centre": [25.0, 40.0],
    }
    assert (values["input"], values["regions_omitted"], values["log_id"]) == ("a.png", 0, "x")
    assert regions_of(values["regions"], values["regions_omitted"]) == verdict().regions


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "out" / "verdicts.csv"
    with verdict_file(file) as table:
        assert table is not None
        table.add(verdict())
        (row,) = rows(file)
        assert (row["regions"], row["largest_box"]) == ("2", "10 20 30 40")
        assert row["zones"] == "logo"
        table.add_error("b.png", "cannot be read")
        assert rows(file)[1]["error"] == "cannot be read"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_file_name_is_a_formula(start: str, tmp_path: Path) -> None:
    name = f"{start}HYPERLINK(1)"
    assert spreadsheet_text(name) == f"'{name}"
    file = tmp_path / "verdicts.csv"
    with verdict_file(file) as table:
        assert table is not None
        table.add(verdict(name))
        table.add_error(name, name)
    assert all(row["name"].startswith("'") for row in rows(file))
    assert rows(file)[1]["error"].startswith("'")


def test_names_of_any_letters_and_of_none_are_written(tmp_path: Path) -> None:
    names = ["grün, 螺丝.png", 'a "b".png', "line\nbreak.png", "bad\udcff.png"]
    file = tmp_path / "verdicts.csv"
    with verdict_file(file) as table:
        assert table is not None
        for name in names:
            table.add(verdict(name))
    assert [row["name"] for row in rows(file)] == [*names[:3], "bad\\udcff.png"]


def test_earlier_verdicts_are_replaced_and_other_files_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.csv"
    for _ in range(2):
        with verdict_file(file) as table:
            assert table is not None
            table.add(verdict())
    assert len(rows(file)) == 1
    assert file.read_text("utf-8").startswith(",".join(COLUMNS))
    other = tmp_path / "notes.csv"
    other.write_text("mine")
    with pytest.raises(ConfigError, match="choose another --csv"), verdict_file(other):
        pass
    assert other.read_text() == "mine"
    with pytest.raises(ConfigError, match="is a folder"), verdict_file(tmp_path):
        pass


def test_no_two_images_of_a_run_share_a_file_name() -> None:
    names = FileNames()
    assert [names.free(stem) for stem in ("x", "X", "y", "x")] == ["x", "X-2", "y", "x-3"]
