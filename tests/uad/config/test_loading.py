from pathlib import Path

import pytest

from uad.config import TrainingConfig, load_settings
from uad.config.loading import read_yaml
from uad.errors import ConfigError


def test_defaults_are_a_valid_configuration() -> None:
    assert load_settings(TrainingConfig).training.epochs >= 1


def test_a_file_and_overrides_are_merged_and_the_override_wins(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("training: {epochs: 3, batch_size: 2}\n")
    config = load_settings(TrainingConfig, file, ["training.epochs=7"])
    assert (config.training.epochs, config.training.batch_size) == (7, 2)


def test_an_unknown_key_is_refused_by_its_dotted_name_and_the_known_ones_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'training\.epoch' \(known here: .*epochs"):
        load_settings(TrainingConfig, overrides=["training.epoch=3"])


def test_a_value_of_the_wrong_type_is_refused_by_its_dotted_name() -> None:
    with pytest.raises(ConfigError, match=r"'training\.epochs'.*'many'"):
        load_settings(TrainingConfig, overrides=["training.epochs=many"])


@pytest.mark.parametrize(
    ("pattern", "told"),
    [(r"_\d+", "has no group. Put parentheses"), ("(", "is not a regular expression")],
)
def test_a_group_pattern_that_tells_nothing_apart_is_refused_with_the_settings(
    pattern: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=rf"'data\.group_pattern'.*{told}"):
        load_settings(TrainingConfig, overrides=[f"data.group_pattern={pattern}"])


@pytest.mark.parametrize("override", ["training.epochs", "=3", "data=1", "training.epochs.deep=1"])
def test_an_override_that_is_no_setting_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        load_settings(TrainingConfig, overrides=["training.epochs=2", override])


@pytest.mark.parametrize("text", ["- a\n- b\n", "training: {epochs: 3", "\x00"])
def test_a_file_that_is_no_mapping_of_settings_is_refused_by_name(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "bad config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"bad config\.yaml"):
        load_settings(TrainingConfig, file)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_settings(TrainingConfig, Path("nowhere.yaml"))


def test_settings_cannot_be_changed_after_loading() -> None:
    config = load_settings(TrainingConfig)
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 1  # type: ignore[misc]


def test_off_is_off_though_yaml_reads_it_as_false() -> None:
    assert load_settings(TrainingConfig, overrides=["export.int8=off"]).export.int8 == "off"


@pytest.mark.parametrize(
    "text",
    [
        "training: {epochs: 3}\ninput: {width: 64}\ntraining: {batch_size: 4}\n",
        "training:\n  epochs: 3\n  batch_size: 4\n  epochs: 5\n",
    ],
)
def test_a_key_that_stands_twice_is_refused_and_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"'(training|epochs)' is here twice.*line \d"):
        load_settings(TrainingConfig, file)


def test_a_merged_mapping_may_override_its_source(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\n")
    assert read_yaml(file)["other"] == {"a": 1, "b": 3}
