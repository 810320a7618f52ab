from importlib.resources import files
from pathlib import Path

import pytest

from serving.models.loading import open_products
from serving.settings import ServerSettings
from uad.cli.serve import _per_product
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
        ('products."bolt v1.2".alpha=7', "'products.bolt v1.2.alpha'"),
        ("products.nut={alpha: 0.1, threshold: 3}", "not both"),
    ],
)
def test_a_wrong_setting_is_named(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(ServerSettings, None, [override])
    assert words in str(raised.value)


def test_a_product_s_own_decision_goes_before_the_server_s() -> None:
    overrides = ["threshold=4", "min_area=9", 'products."bolt v1.2".alpha=0.1']
    settings = load_settings(ServerSettings, None, overrides)
    own, others = settings.decision("bolt v1.2"), settings.decision("nut")
    assert (own.alpha, own.threshold, own.min_area) == (0.1, None, 9)
    assert (others.alpha, others.threshold, others.min_area) == (None, 4, 9)


def test_settings_of_a_product_that_is_not_served_are_refused(tmp_path: Path) -> None:
    settings = load_settings(
        ServerSettings, None, [f"models=[cookie={tmp_path}]", "products.nut.alpha=0.1"]
    )
    with pytest.raises(ConfigError, match="'nut', which this server does not serve"):
        open_products(settings)


def test_the_command_line_names_the_product_of_a_threshold() -> None:
    typed = _per_product("threshold", ["4", "bolt v1.2=0.5", "nut=6"])
    settings = load_settings(ServerSettings, None, typed)
    assert settings.threshold == 4
    assert {name: own.threshold for name, own in settings.products.items()} == {
        "bolt v1.2": 0.5,
        "nut": 6,
    }
