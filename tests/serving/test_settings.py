from importlib.resources import files
from pathlib import Path

import pytest

from serving.settings import ServerSettings
from uad.config import load_settings
from uad.errors import ConfigError

SHIPPED = Path(str(files("uad"))) / "configs" / "serving.yaml"


def test_the_shipped_file_spells_out_the_defaults() -> None:
    assert load_settings(ServerSettings, SHIPPED) == ServerSettings()


def test_the_shipped_file_names_every_setting() -> None:
    text = SHIPPED.read_text()
    sections = (ServerSettings, *(type(getattr(ServerSettings(), each)) for each in SECTIONS))
    for section in sections:
        for name in section.model_fields:
            assert f"{name}:" in text


SECTIONS = ("limits", "access", "urls")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("limits.pixel=1", "unknown key 'limits.pixel'"),
        ("limits.pixels=many", "'limits.pixels'"),
        ("urls.schemes=[gopher]", "'urls.schemes.0'"),
        ("port=99999", "'port'"),
        ("alpha=1.5", "'alpha'"),
    ],
)
def test_a_wrong_setting_is_named(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(ServerSettings, None, [override])
    assert words in str(raised.value)
