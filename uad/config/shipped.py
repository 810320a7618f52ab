"""The settings files that come with uad, also from an installed wheel: `uad config list`."""

from importlib.resources import as_file, files
from pathlib import Path

from uad.errors import ConfigError


def shipped_names() -> list[str]:
    """Names such as `training/demo`, in order."""
    with as_file(files("uad") / "configs") as folder:
        found = (file.relative_to(folder).with_suffix("") for file in folder.rglob("*.yaml"))
        return sorted(name.as_posix() for name in found)


def shipped_text(name: str) -> str:
    """The YAML of a shipped file, as it is named in `shipped_names`; of `gate` its default.

    Raises:
        ConfigError: there is none of that name.
    """
    plain = name.removeprefix("configs/").removesuffix(".yaml")
    if f"{plain}/default" in shipped_names():
        plain = f"{plain}/default"
    if plain not in shipped_names():
        raise ConfigError(
            f"no settings '{name}' come with uad: there are {', '.join(shipped_names())}"
        )
    return (files("uad") / "configs" / f"{plain}.yaml").read_text("utf-8")


def is_shipped(file: Path) -> bool:
    """Whether a path that does not exist names a shipped file: `configs/training/demo.yaml`."""
    plain = file.as_posix().removeprefix("configs/").removesuffix(".yaml")
    return not file.exists() and plain in shipped_names()
