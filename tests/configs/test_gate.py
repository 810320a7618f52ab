from importlib.resources import files
from pathlib import Path

import pytest

from uad.config import load_settings
from uad.registry.gate import GateRule

FOLDER = Path(str(files("uad"))) / "configs" / "gate"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=str)
def test_every_gate_file_is_valid(file: Path) -> None:
    load_settings(GateRule, file)


def test_the_default_file_spells_out_the_defaults() -> None:
    assert load_settings(GateRule, FOLDER / "default.yaml") == GateRule()
