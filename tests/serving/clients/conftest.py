from pathlib import Path

import cv2
import pytest

from tests.images import defective

IMAGE_SIZE = (90, 120)


@pytest.fixture(scope="session")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part with a planted defect, with a space and a capital in its name."""
    file = tmp_path_factory.mktemp("image") / "Part 7.png"
    cv2.imwrite(str(file), defective(7, size=IMAGE_SIZE)[0])
    return file
