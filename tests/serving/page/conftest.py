"""A server that keeps what it judges, and a real browser that can reach nothing else."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.running import Running

Serve = Callable[..., Running]


@pytest.fixture
def keeping(serve: Serve, random_bundle: Callable[[int], Path]) -> Callable[..., Running]:
    """Starts a server of the product cookie that keeps every image."""
    return lambda **values: serve(
        models=[f"cookie={random_bundle(1)}"], keep={"images": "all"}, **values
    )


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[object]:
    """Chromium, headless, on a screen of a desktop; skips where it is not installed."""
    selenium = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium and chromedriver are not installed")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", "--window-size=1240,1400", "--hide-scrollbars"),
        # Whatever is not this machine goes to a proxy that is not there.
        *("--proxy-server=127.0.0.1:9", "--proxy-bypass-list=127.0.0.1"),
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(executable_path=driver)
    opened = selenium.Chrome(options=options, service=service)
    yield opened
    opened.quit()
