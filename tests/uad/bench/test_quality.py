import json
from pathlib import Path

import pytest

from uad.cli import main

TINY = """
model: {width: 8}
input: {height: 48, width: 64}
training: {epochs: 2, min_steps: 0, batch_size: 4}
"""
PRODUCT = TINY + "score: {combine: product}\n"


def quality(parts: Path, folder: Path, *options: str) -> object:
    """`uad bench quality` of two tiny recipes; its exit status."""
    recipes = {"first": PRODUCT, "second": TINY}
    for name, text in recipes.items():
        (folder / f"{name}.yaml").write_text(text)
    command = ["bench", "quality", "--data", str(parts), "--teacher", "random", "--seeds", "1"]
    command += [word for name in recipes for word in ("--recipe", str(folder / f"{name}.yaml"))]
    command += ["--output", str(folder / "bundles"), "--json", str(folder / "quality.json")]
    with pytest.raises(SystemExit) as stopped:
        main([*command, *options])
    return stopped.value.code


def test_recipes_are_compared_on_one_split_and_what_was_trained_is_not_trained_again(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not quality(parts, tmp_path)
    found = json.loads((tmp_path / "quality.json").read_text())
    assert [run["recipe"] for run in found["runs"]] == ["first", "second"]
    assert all(0 <= run["image_auroc"] <= 1 for run in found["runs"])
    (interval,) = (v for k, v in found["minus_first"].items() if k.endswith("second: image_auroc"))
    assert interval[1] <= interval[0] <= interval[2]

    assert not quality(parts, tmp_path)
    again = json.loads((tmp_path / "quality.json").read_text())
    for run in (*found["runs"], *again["runs"]):
        assert run.pop("milliseconds") > 0  # of an image: measured anew each time
    assert again == found  # its minutes too
    capsys.readouterr()
    assert quality(parts, tmp_path, "--set", "training.epochs=1") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "training.epochs 1, was 2" in said
    assert "Choose another --output, or remove it" in said
