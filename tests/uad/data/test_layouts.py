import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.uad.data.conftest import write_long_ago
from uad.data import load_dataset
from uad.data.layouts import find
from uad.errors import DataError

Draw = Callable[..., Path]


def uses(path: Path) -> Counter[tuple[str, str]]:
    return Counter((item.split, item.defect) for item in find(path).images)


def test_mvtec_folders_are_recognised(parts: Path) -> None:
    assert find(parts).layout == "MVTec AD"
    expected = {("train", "good"): 12, ("test", "good"): 3, ("test", "cracked"): 4}
    assert uses(parts) == expected
    cracked = [item for item in find(parts).images if item.defect == "cracked"]
    assert cracked[0].mask == parts / "ground_truth/cracked/000_mask.png"
    assert cracked[0].name == "test/cracked/000.png"


def test_masks_may_carry_the_images_own_name_and_any_case(
    parts: Path, draw: Draw, draw_mask: Draw
) -> None:
    draw("parts/test/Big Dent/Photo 1.JPG", seed=300)
    draw_mask("parts/ground_truth/Big Dent/Photo 1.PNG")
    dataset = load_dataset(parts)
    dent = next(sample for sample in dataset.test if sample.defect == "Big Dent")
    assert dent.mask == parts / "ground_truth/Big Dent/Photo 1.PNG"
    assert not dataset.problems


def test_images_directly_in_train_are_normal(tmp_path: Path, draw: Draw) -> None:
    for index in range(4):
        draw(f"set/train/{index}.png", seed=index)
    draw("set/test/scratch/0.png", seed=9)
    assert uses(tmp_path / "set") == {("train", "good"): 4, ("test", "scratch"): 1}


def test_a_bare_folder_is_read_at_any_depth_and_hidden_files_are_not(
    tmp_path: Path, draw: Draw
) -> None:
    draw("photos/a.png", seed=1)
    draw("photos/Line 1/shift ä/B.JPG", seed=2)
    draw("photos/.trash/c.png", seed=3)
    draw("photos/__MACOSX/d.png", seed=3)
    draw("photos/._a.png", seed=4)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    listing = find(tmp_path / "photos")
    assert [item.name for item in listing.images] == ["Line 1/shift ä/B.JPG", "a.png"]
    assert uses(tmp_path / "photos") == {("train", "good"): 2}


def test_good_beside_defect_folders_never_trains_on_defects(
    tmp_path: Path, draw: Draw, draw_mask: Draw
) -> None:
    for index in range(4):
        draw(f"set/OK/{index}.png", seed=index)
    draw("set/bent/0.png", seed=9)
    draw_mask("set/masks/bent/0.png")
    assert uses(tmp_path / "set") == {("train", "good"): 4, ("test", "bent"): 1}
    assert load_dataset(tmp_path / "set").test[0].mask == tmp_path / "set/masks/bent/0.png"


@pytest.mark.parametrize("name", ["test/good", "bad", "NG", "masks"])
def test_a_folder_that_names_defects_but_no_good_images_is_refused(
    tmp_path: Path, draw: Draw, name: str
) -> None:
    draw("set/0.png", seed=1)
    draw(f"set/{name}/0.png", seed=2)
    with pytest.raises(DataError, match="none that says which images are good"):
        find(tmp_path / "set")


def test_the_parent_of_several_datasets_is_refused_by_their_names(
    tmp_path: Path, parts: Path
) -> None:
    with pytest.raises(DataError, match=r"1 datasets \(parts\).*parts/parts|parts"):
        find(tmp_path)


def test_an_empty_folder_and_one_of_other_files_say_what_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no images \(it is empty\)\. Put \.png"):
        find(tmp_path / "empty")
    (tmp_path / "empty" / "a.heic").write_bytes(b"")
    with pytest.raises(DataError, match=r"only files with \.heic"):
        find(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        find(tmp_path / "nowhere")


def test_linked_folders_are_followed_and_loops_are_not(tmp_path: Path, draw: Draw) -> None:
    draw("elsewhere/a.png", seed=1)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "set")
    assert [item.name for item in find(tmp_path / "set").images] == ["link/a.png"]


def test_a_state_folder_among_the_images_holds_none_of_them(
    tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UAD_HOME", str(tmp_path / "set/state"))
    draw("set/a.png", seed=1)
    draw("set/state/judged/b.png", seed=2)
    assert [item.name for item in find(tmp_path / "set").images] == ["a.png"]
    assert [item.name for item in find(tmp_path / "set/state/judged").images] == ["b.png"]
    assert [item.name for item in find(tmp_path / "set/state").images] == ["judged/b.png"]


def test_one_file_named_after_a_defect_is_asked_about_with_the_cure(
    tmp_path: Path, draw: Draw
) -> None:
    for name in ("0001", "0002", "broken"):
        draw(f"set/{name}.png", seed=1)
    with pytest.raises(DataError, match=r"broken\.png says more .* if it is good too, rename it"):
        find(tmp_path / "set")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_named(tmp_path: Path, draw: Draw) -> None:
    draw("set/closed/a.png", seed=1)
    (tmp_path / "set/closed").chmod(0)
    try:
        with pytest.raises(DataError, match="closed"):
            find(tmp_path / "set")
    finally:
        (tmp_path / "set/closed").chmod(0o755)


def test_paddlex_lists_take_labels_from_masks_and_ignore_an_image_as_its_own_mask(
    tmp_path: Path, draw: Draw, draw_mask: Draw
) -> None:
    lines = []
    for index in range(4):
        draw(f"set/images/good {index}.png", seed=index)
        lines.append(f"images/good {index}.png images/good {index}.png")
    draw("set/images/bad 1.png", seed=50)
    draw("set/images/fine.png", seed=51)
    draw_mask("set/masks/bad 1.png", value=1)
    draw_mask("set/masks/fine.png", value=0)
    (tmp_path / "set/train.txt").write_text("\n".join(lines) + "\n\n")
    (tmp_path / "set/val.txt").write_text(
        "images/bad 1.png masks/bad 1.png\nimages/fine.png masks/fine.png\n"
    )
    dataset = load_dataset(tmp_path / "set")
    assert dataset.layout == "PaddleX lists"
    assert len(dataset.normals) == 4
    assert [(s.name, s.label, s.mask is not None) for s in dataset.test] == [
        ("images/bad 1.png", 1, True),
        ("images/fine.png", 0, False),
    ]
    assert not dataset.problems


def test_a_paddlex_image_whose_mask_is_unreadable_is_left_out(
    tmp_path: Path, draw: Draw, draw_mask: Draw
) -> None:
    for index in range(4):
        draw(f"set/images/{index}.png", seed=index)
    write_long_ago(draw_mask("set/masks/3.png"), b"torn")
    lines = [f"images/{i}.png" for i in range(3)] + ["images/3.png masks/3.png"]
    (tmp_path / "set/train.txt").write_text("\n".join(lines))
    dataset = load_dataset(tmp_path / "set")
    assert len(dataset.normals) == 3
    assert "images/3.png is left out" in dataset.problems[0].message


def test_mvtec_folders_win_over_the_lists_that_paddlex_adds_to_them(parts: Path) -> None:
    (parts / "train.txt").write_text("train/good/000.png train/good/000.png\n")
    assert len(find(parts).images) == 19


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_csv_manifest_labels_splits_and_masks(
    tmp_path: Path, draw: Draw, draw_mask: Draw, separator: str
) -> None:
    rows = ["Path,Label,Mask,Split,operator"]
    for index in range(4):
        draw(f"set/img/{index}.png", seed=index)
        rows.append(f"img/{index}.png,{'good' if index % 2 else 0},,,anna")
    for index in range(3):
        draw(f"set/img/t{index}.png", seed=20 + index)
    draw_mask("set/m/t1.png")
    rows += ["img/t0.png,1,,test,", "img/t1.png,dent,m/t1.png,,", "img/t2.png,OK,,val,"]
    text = "\n".join(rows).replace(",", separator)
    (tmp_path / "set/manifest.csv").write_text(text, encoding="utf-8-sig")
    for path in (tmp_path / "set", tmp_path / "set/manifest.csv"):
        dataset = load_dataset(path)
        assert len(dataset.normals) == 4
        seen = {s.name: (s.defect, s.mask is not None) for s in dataset.test}
        assert seen == {
            "img/t0.png": ("defect", False),
            "img/t1.png": ("dent", True),
            "img/t2.png": ("good", False),
        }


def test_a_json_lines_manifest_names_what_is_missing(tmp_path: Path, draw: Draw) -> None:
    lines = [f'{{"path": "{index}.png", "label": 0}}' for index in range(3)]
    for index in range(3):
        draw(f"set/{index}.png", seed=index)
    lines += ['{"path": "gone.png"}', '{"path": "0.png", "label": "dent", "split": "test"}']
    (tmp_path / "set/any.jsonl").write_text("\n".join(lines))
    dataset = load_dataset(tmp_path / "set/any.jsonl")
    assert dataset.name == "any"
    kinds = [problem.kind for problem in dataset.problems]
    assert kinds == ["missing", "conflict"]
    assert "gone.png" in dataset.problems[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,0\n", "no column 'path'"),
        ("path,split\na.png,maybe\n", "line 2: split 'maybe' is unknown"),
        ("path,label\n,0\n", "line 2 has no path"),
        ("path\nb.png\n", "none of the images in .* exists; .*b.png"),
    ],
)
def test_a_manifest_that_cannot_be_followed_is_refused_by_line(
    tmp_path: Path, draw: Draw, text: str, message: str
) -> None:
    draw("set/a.png", seed=1)
    (tmp_path / "set/manifest.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        find(tmp_path / "set")


def test_a_jsonl_line_that_is_not_json_is_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('\n{"path": \n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        find(tmp_path / "list.jsonl")


def test_an_image_file_is_no_dataset(draw: Draw) -> None:
    with pytest.raises(DataError, match="name the folder that holds the images"):
        find(draw("one.png", seed=1))


@pytest.mark.parametrize(
    ("header", "good", "bad", "column"),
    [
        ("path,is_defect", "0", "1", "is_defect"),
        ("filename,good", "1", "0", "good"),
        ("image,quality", "OK", "NOK", "quality"),
        ("path,result", "1", "2", "result"),
        ("path,comment", "", "scratch", "comment"),
    ],
)
def test_labels_in_a_column_that_is_not_read_are_never_taken_for_good(
    tmp_path: Path, draw: Draw, header: str, good: str, bad: str, column: str
) -> None:
    for index in range(6):
        draw(f"set/{index}.png", seed=index)
    rows = [f"{index}.png,{bad if index > 3 else good}" for index in range(6)]
    (tmp_path / "set/manifest.csv").write_text("\n".join([header, *rows]))
    with pytest.raises(DataError, match=f"'{column}' seems to say .* a column 'label' instead"):
        find(tmp_path / "set")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["path,label", "0.png,good", "1.png,"], "line 3 has no label, but other lines have one"),
        (["path,label", "0.png,good", "1.png,nan"], "line 3 has no label"),
        (
            ["path,label,defect", "0.png,1,good"],
            "line 2: the label is '1' but the defect is 'good'",
        ),
        (["path,label,defect", "0.png,0,crack"], "One says good, the other defective"),
    ],
)
def test_a_label_that_is_missing_or_contradicted_is_refused_by_line(
    tmp_path: Path, draw: Draw, rows: list[str], message: str
) -> None:
    for index in range(2):
        draw(f"set/{index}.png", seed=index)
    (tmp_path / "set/manifest.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=message):
        find(tmp_path / "set")


def test_a_defect_of_none_is_no_defect(tmp_path: Path, draw: Draw) -> None:
    rows = ["path,label,defect", "0.png,0,none", "1.png,0,-", "2.png,0,", "3.png,1,crack"]
    for index in range(4):
        draw(f"set/{index}.png", seed=index)
    (tmp_path / "set/manifest.csv").write_text("\n".join(rows))
    found = [image.defect for image in find(tmp_path / "set").images]
    assert found == ["good", "good", "good", "crack"]


@pytest.mark.parametrize(
    "lists",
    [
        {"manifest.csv": "path,split\n0.png,train\n1.png,train\n2.png,train\n3.png,test\n"},
        {"train.txt": "0.png\n1.png\n2.png\n", "val.txt": "3.png\n"},
    ],
)
def test_listed_test_images_without_a_label_are_not_taken_for_good(
    tmp_path: Path, draw: Draw, lists: dict[str, str]
) -> None:
    for index in range(4):
        draw(f"set/{index}.png", seed=index)
    for name, text in lists.items():
        (tmp_path / "set" / name).write_text(text)
    dataset = load_dataset(tmp_path / "set")
    assert (len(dataset.normals), dataset.test) == (3, ())
    assert [problem.message for problem in dataset.problems] == [
        "1 picture in . is used for nothing: nothing says whether they are good"
    ]


def test_accents_written_as_one_character_or_two_name_the_same_file(
    tmp_path: Path, draw: Draw, draw_mask: Draw
) -> None:
    for index in range(3):
        draw(f"set/train/good/{index}.png", seed=index)
    draw("set/test/défaut/é.png".replace("é", "e\N{COMBINING ACUTE ACCENT}"), seed=9)
    draw_mask("set/ground_truth/défaut/é_mask.png")
    assert [sample.mask is not None for sample in load_dataset(tmp_path / "set").test] == [True]
    rows = ["path,label", *(f"train/good/{i}.png,good" for i in range(3)), "test/défaut/é.png,1"]
    (tmp_path / "set/manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    assert load_dataset(tmp_path / "set").counts["test_anomalous"] == 1
