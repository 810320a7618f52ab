"""The report in a real browser that can reach nothing."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from uad.data import Sample
from uad.evaluation import evaluate, write_report

from .conftest import Brightness

pytestmark = pytest.mark.browser


def screenshot(page: Path, file: Path, profile: Path) -> np.ndarray:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--window-size=1240,2400", "--proxy-server=127.0.0.1:9"),
    ]
    command = [chromium, *flags, f"--user-data-dir={profile}", f"--screenshot={file}"]
    subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)
    shown = cv2.imread(str(file))
    assert shown is not None
    return shown


def test_the_page_shows_its_charts_and_pictures(tiles: list[Sample], tmp_path: Path) -> None:
    files = write_report(evaluate(Brightness(), tiles), tmp_path / "r", Brightness(), tiles)
    shown = screenshot(files["report.html"], tmp_path / "page.png", tmp_path / "profile")
    line = np.array([0x79, 0x4E, 0x1F])  # the curves' blue, BGR
    assert (np.abs(shown.astype(int) - line).max(axis=2) < 8).sum() > 300
    magenta = (shown[..., 0] > 150) & (shown[..., 1] < 80) & (shown[..., 2] > 150)
    assert magenta.sum() > 300  # the upper end of the heat maps' colour scale
