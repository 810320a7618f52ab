from pathlib import Path

import pytest

from uad.config import TrainingConfig
from uad.data import Dataset, load_dataset
from uad.models.parts import Teacher
from uad.models.teacher import load_teacher


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return load_teacher("random", width=8)


@pytest.fixture
def dataset(parts: Path, tiny_config: TrainingConfig) -> Dataset:
    return load_dataset(parts, tiny_config.data)
