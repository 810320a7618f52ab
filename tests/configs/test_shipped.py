from importlib.resources import files
from pathlib import Path

import pytest

from uad.config import TrainingConfig, load_settings

CONFIGS = Path(str(files("uad"))) / "configs"


@pytest.mark.parametrize("file", sorted((CONFIGS / "training").glob("*.yaml")), ids=str)
def test_every_training_file_is_valid(file: Path) -> None:
    load_settings(TrainingConfig, file)


def test_the_default_file_spells_out_the_defaults() -> None:
    assert load_settings(TrainingConfig, CONFIGS / "training" / "default.yaml") == TrainingConfig()
