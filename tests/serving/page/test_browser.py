"""The page in a real browser that reaches this machine alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from serving.api.access import new_key
from tests.serving.running import Running, until
from uad.monitoring.judged_images import JudgedImages

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=document.title='run'>"
VIEWS = {
    "now": "judges the images",
    "try": "Another false alarm rate",
    "zones": "Close the zone",
    "versions": "It has no versions",
}
PHONE = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}


class Page:
    """What a person does and sees."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser, self.url = browser, url

    def open(self, view: str = "") -> None:
        self.browser.get(f"{self.url}/{view}")

    def find(self, css: str, text: str = "") -> Any:
        """The first visible element with this text; waits for it."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".find((e) => e.checkVisibility() && e.textContent.includes(arguments[1])) || null"
        )
        found: list[Any] = []

        def is_there() -> bool:
            found[:] = [self.browser.execute_script(script, css, text)]
            return found[0] is not None

        until(is_there, 60)
        return found[0]

    def type(self, css: str, text: str) -> None:
        self.find(css).send_keys(text)

    def complaints(self) -> list[str]:
        """What the browser refused or could not run."""
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture
def judged(keeping: Callable[..., Running], image: str) -> Running:
    """A server that judged one image as an alarm and one as good."""
    server = keeping()
    server.judge(image, threshold=0.0)
    server.judge(image, threshold=1e9)
    assert server.state.writer.flush()
    return server


def test_an_alarm_is_looked_at_and_called_good(judged: Running, browser: Any) -> None:
    page = Page(browser, judged.url)
    page.open()
    tile = page.find("a.tile.alarm", "Alarm")
    picture = "return arguments[0].querySelector('img').naturalWidth"
    until(lambda: browser.execute_script(picture, tile) > 0, 60)
    tile.send_keys("\n")  # a link: the keyboard opens it
    page.type("#who", "anna")
    page.type("#note", EVIL)
    page.find("button.good").send_keys("\n")
    assert page.find("li", f"anna (127.0.0.1) says good: {EVIL}")
    assert page.find("p", "A false alarm. The next version trains with this image")
    [word] = JudgedImages().marked("cookie")[0].words
    assert (word.said, word.who, word.note) == ("good", "anna", EVIL)
    page.open("#now")
    assert page.find(".said", "Marked good")
    assert browser.title == "cookie - uad"  # the note's script did not run
    assert page.complaints() == []


def test_an_image_is_judged_again_by_the_version_that_serves(judged: Running, browser: Any) -> None:
    page = Page(browser, judged.url)
    name = JudgedImages().newest("cookie", 1)[0].id
    page.open(f"#image/{name}")
    page.find("button", "Judge this image again").send_keys("\n")
    shown = page.find("figure img[alt='The image with its heat map']")
    until(lambda: browser.execute_script("return arguments[0].naturalWidth", shown) > 0, 60)
    assert page.complaints() == []


def test_a_missed_defect_is_reported_where_only_alarms_are_kept(
    serve: Callable[..., Running],
    random_bundle: Callable[[int], Path],
    part: Any,
    browser: Any,
    tmp_path: Path,
) -> None:
    server = serve(models=[f"cookie={random_bundle(1)}"], threshold=1e6, keep={"images": "alarms"})
    photo = tmp_path / "part.png"
    cv2.imwrite(str(photo), part)
    page = Page(browser, server.url)
    page.open()
    page.find("p", "Only images with an alarm are kept").find_element("css selector", "a").click()
    page.type("#file", str(photo))
    page.find("button.defective").send_keys("\n")
    page.find("a", "Show it").click()
    assert page.find("p", "A missed defect. The next version is tested on this image")
    assert page.complaints() == []


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_a_telephone(judged: Running, browser: Any, view: str) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    page = Page(browser, judged.url)
    page.open(f"#{view}")
    assert page.find("h1", f"cookie: {view}")
    assert page.find("main", VIEWS[view])
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert page.complaints() == []


def test_a_zone_is_drawn_with_the_keyboard_and_written_as_fractions(
    judged: Running, browser: Any
) -> None:
    page = Page(browser, judged.url)
    page.open("#zones")
    page.find("#which:has(option)")
    right, down, left = "\ue014" * 10, "\ue015" * 10, "\ue012" * 10
    page.find(".drawing").send_keys(f" {right} {down} {left} \n")
    written = page.find("#yaml").get_attribute("value")
    assert yaml.safe_load(written) == {
        "size": [64, 48],
        "ignore": [[[0.5, 0.5], [0.6, 0.5], [0.6, 0.6], [0.5, 0.6]]],
    }
    assert page.complaints() == []


def test_a_person_signs_in_with_a_key(
    keeping: Callable[..., Running], browser: Any, tmp_path: Path
) -> None:
    key, line = new_key("line4")
    (tmp_path / "keys.txt").write_text(f"{line}\n")
    page = Page(browser, keeping(access={"keys": str(tmp_path / "keys.txt")}).url)
    page.open()
    page.type("#key", "uad_wrong\n")
    assert page.find("[role=alert]", "This key is not known")
    page.type("#key", f"{key}\n")
    assert page.find("h1", "cookie: now")
    page.find("#sign-out button").click()
    assert page.find("h1", "Sign in")
