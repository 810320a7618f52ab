"""The pictures of docs/page.md, made anew: `python tests/bench/page_pictures.py [FOLDER]`.

It plays the walk of that page in a UAD_HOME of its own: trains the demo's gear, sends images to
`uad serve`, and takes pictures of its page in Chromium: an alarm on a good gear, what a person says
about it, the version trained with that, its promotion, and a zone. It needs Chromium, chromedriver
and about ten minutes. FOLDER is docs/images unless given. Look at the pictures before you commit
them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from selenium import webdriver

from flows.server import free_port
from uad.client import Client
from uad.data import make_demo_images

PRODUCT = "gear"
WIDTH = 1180
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]
PATIENCE_SECONDS = 120.0


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"UAD_HOME": home, "USER": "ben", "LOGNAME": "ben"}
        photos, line = (_gears(Path(home) / name, seed) for seed, name in enumerate("ab"))
        _retrain(photos)
        port, admin = free_port(), free_port()
        url, other = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
        with _serving(port, admin), _browser(Path(home) / "profile") as browser:
            _walk(Page(browser, url, folder), Page(browser, other, folder), photos, line, home)


def _walk(page: "Page", admin: "Page", photos: Path, line: Path, home: str) -> None:
    alarm = _judged(page.url, line)
    page.show("#now", "Scores of the last images")
    page.save("page-now", 857)
    page.show(f"#image/{alarm}", "It is good")
    page.type("#who", "Anna")
    page.save("page-alarm", 857)
    page.click("button.good")
    page.find("p", "A false alarm")
    page.save("page-said", 857)
    _zones(page, photos, Path(home))
    _retrain(photos, "--with-feedback", "--promote", "never")
    admin.show("#versions", "champion: it serves")
    admin.type("input[aria-label='Why version 2']", "the false alarm of this morning is gone")
    admin.click("button.main")
    admin.find("td", "version 2 in place of 1")
    admin.find("p", "Version 2 judges the images.")
    admin.save("page-versions", 1000)
    page.show(f"#image/{alarm}", "Judge this image again")
    page.click("button", "Judge this image again")
    if "Good" not in page.find("p", "(version 2)").text:
        raise SystemExit(
            "version 2 still raises the alarm: the text of docs/page.md would be wrong"
        )
    page.save("page-again", 1107, scroll="figure img[alt='The image with its heat map']")


def _gears(folder: Path, seed: int) -> Path:
    """The demo's gears; of the line (seed 1) test images alone, most of them good."""
    more = {"train": 0, "test_good": 400, "per_defect": 20} if seed else {}
    return next(f for f in make_demo_images(folder, seed=seed, **more) if f.name == PRODUCT)


def _judged(url: str, line: Path) -> str:
    """Send the line's images until a good one raises an alarm, at least 50; its logId."""
    files = sorted(line.glob("test/*/*.png"))
    with Client(url) as client:
        for sent, index in enumerate(np.random.default_rng(4).permutation(len(files)), start=1):
            found = client.predict(files[index], visualize=False)
            if sent >= 50 and found.is_anomalous and files[index].parent.name == "good":
                return found.log_id
    raise SystemExit("no good gear raised an alarm: there is nothing to correct")


def _zones(page: "Page", photos: Path, home: Path) -> None:
    """Left the page on which a zone is drawn, right what `uad zones --show` saves."""
    page.show("#zones", "Close the zone")
    page.find("#which:has(option)")
    left, up, down, right = "\ue012", "\ue013", "\ue015", "\ue014"
    corner = f"{left * 49}{up * 49} {right * 32} {left * 32}{down * 32} \n"
    page.type(".drawing", corner)
    written = page.find("#yaml").get_attribute("value")
    shown = page.taken(700, 1000)
    (home / "zones.yaml").write_text(written)
    options = ("--ignore", home / "zones.yaml", "--show", home / "zones.png")
    with tempfile.TemporaryDirectory() as other:  # the walk's own dataset keeps its whole images
        env = {**os.environ, "UAD_HOME": other}
        _uad("ingest", photos, "--name", PRODUCT, env=env)
        _uad("zones", PRODUCT, *options, env=env)
    saved = cv2.imread(str(home / "zones.png"))
    sheet = np.full((1000, 1130, 3), 255, np.uint8)
    sheet[:, :700] = shown
    sheet[300:700, 715:1115] = cv2.resize(saved, (400, 400), interpolation=cv2.INTER_CUBIC)
    page.write("page-zones", sheet)


class Page:
    """The server's page on a screen."""

    def __init__(self, browser: Any, url: str, folder: Path) -> None:
        self.browser, self.url, self.folder = browser, url, folder

    def show(self, view: str, text: str) -> None:
        self.size(WIDTH, 1107)
        self.browser.get("about:blank")
        self.browser.get(f"{self.url}/{view}")
        self.find("main", text)

    def find(self, css: str, text: str = "") -> Any:
        """The first visible element with this text; waits for it."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".find((e) => e.checkVisibility() && e.textContent.includes(arguments[1])) || null"
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while (found := self.browser.execute_script(script, css, text)) is None:
            if time.monotonic() > end:
                raise SystemExit(f"the page shows no {css} with '{text}'")
            time.sleep(0.1)
        return found

    def type(self, css: str, text: str) -> None:
        self.find(css).send_keys(text)

    def click(self, css: str, text: str = "") -> None:
        self.find(css, text).click()

    def size(self, width: int, height: int) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def taken(self, width: int, height: int, scroll: str = "") -> "np.ndarray[Any, Any]":
        self.size(width, height)
        place = self.find(scroll) if scroll else None
        script = "arguments[0] ? arguments[0].scrollIntoView({block: 'end'}) : scrollTo(0, 0)"
        self.browser.execute_script(script, place)
        loaded = "return [...document.images].every((e) => e.loading === 'lazy' || e.complete)"
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.browser.execute_script(loaded) and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1.0)  # small pictures of the list are loaded when they come into view
        data = np.frombuffer(self.browser.get_screenshot_as_png(), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))

    def save(self, name: str, height: int, scroll: str = "") -> None:
        self.write(name, self.taken(WIDTH, height, scroll))

    def write(self, name: str, picture: "np.ndarray[Any, Any]") -> None:
        file = self.folder / f"{name}.jpg"
        cv2.imwrite(str(file), picture, JPEG)
        print(file, flush=True)


@contextmanager
def _serving(port: int, admin: int) -> Iterator[None]:
    model = f"models:/{PRODUCT}@champion"
    settings = [f"admin_port={admin}", "keep.images=all", "poll_seconds=1"]
    options = [word for each in settings for word in ("--set", each)]
    command = [sys.executable, "-m", "uad", "serve", "--model", model, "--port", str(port)]
    with subprocess.Popen([*command, *options]) as process:
        try:
            _until_ready(f"http://127.0.0.1:{port}/readyz", process)
            yield
        finally:
            process.terminate()


def _until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise SystemExit("the server ended")


@contextmanager
def _browser(profile: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--lang=en-US"),
        *("--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={profile}"),
        *("--proxy-server=127.0.0.1:9", "--proxy-bypass-list=127.0.0.1"),
    ):
        options.add_argument(flag)
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    opened = webdriver.Chrome(options=options, service=service)
    try:
        yield opened
    finally:
        opened.quit()


def _retrain(photos: Path, *options: str) -> None:
    """With the settings of `uad demo`."""
    _uad("retrain", "--data", photos, "--name", PRODUCT, "--config", "training/demo", *options)


def _uad(*words: object, env: dict[str, str] | None = None) -> None:
    subprocess.run([sys.executable, "-m", "uad", *map(str, words)], check=True, env=env)


if __name__ == "__main__":
    main(Path(*sys.argv[1:]) if sys.argv[1:] else Path(__file__).parents[2] / "docs" / "images")
