"""docs/migration.md names only commands, options and settings that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from uad.cli import build
from uad.config import TrainingConfig

PAGE = Path(__file__).parents[3] / "docs" / "migration.md"
COMMAND = re.compile(r"^uad( |$)")


def commands() -> Iterator[list[str]]:
    """Every `uad ...` of the page: in code spans of tables and text, and in indented lines."""
    text = PAGE.read_text("utf-8")
    spans = [span for line in text.splitlines() for span in re.findall(r"`([^`]+)`", line)]
    indented = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    for command in (*spans, *indented):
        if COMMAND.match(command):
            yield shlex.split(command)[1:]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_a_command_of_the_page_exists_with_its_options(words: list[str]) -> None:
    command: Any = typer.main.get_command(build())
    while (commands := getattr(command, "commands", None)) and words and words[0][0] != "-":
        name, *words = words
        assert name in commands, f"{command.name} has no command {name}"
        command = commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word for word in words if word.startswith("--")}
    assert used <= known


def test_the_page_has_such_commands() -> None:
    assert len(list(commands())) > 20


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"--set ([\w.]+)=", PAGE.read_text()))))
def test_a_setting_of_the_page_exists(setting: str) -> None:
    model: type[BaseModel] = TrainingConfig
    *sections, last = setting.split(".")
    for section in sections:
        annotation = model.model_fields[section].annotation
        assert isinstance(annotation, type)
        model = annotation
    assert last in model.model_fields
