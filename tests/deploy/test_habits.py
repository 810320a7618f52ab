"""The files that a project keeps beside its code agree with each other."""

import re
import subprocess
import sys
import tomllib

import yaml

from tests.conftest import ROOT


def test_the_hooks_before_a_commit_are_the_checks_of_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = {hook["entry"] for hook in config["repos"][0]["hooks"]}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    commands = {line.strip().removesuffix(" .") for line in lint.splitlines()[1:]}
    assert {entry.replace(".venv/bin", "$(BIN)") for entry in entries} == commands


def test_the_packages_say_that_they_are_typed_and_carry_their_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = project["tool"]["setuptools"]["package-data"]
    for package in ("uad", "flows", "serving"):
        assert (ROOT / package / "py.typed").is_file()
        assert "py.typed" in data[package]
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_all_package_data_matches_a_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            assert any((ROOT / package).glob(pattern)), f"{package}: {pattern}"


def test_the_reference_names_modules_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    [line] = re.findall(r"^API := (.*)$", makefile, re.MULTILINE)
    code = f"import importlib; [importlib.import_module(name) for name in {line.split()!r}]"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=ROOT, timeout=120)


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## Unreleased$", text, re.MULTILINE)
