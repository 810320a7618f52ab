"""From YAML, a user's file or one shipped with uad, and `--set a.b=c` to frozen settings."""

import re
from collections.abc import Hashable, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from uad.errors import ConfigError


class Settings(BaseModel):
    """Base of all settings: frozen, strict about names and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


S = TypeVar("S", bound=BaseModel)


def load_settings(kind: type[S], file: Path | None = None, overrides: Sequence[str] = ()) -> S:
    """Read `file` (YAML; none means all defaults), apply `a.b=value` overrides, validate.

    Raises:
        ConfigError: the file is missing or no YAML mapping, or a key is unknown or of the wrong
            type; the message names the key by its dotted path.
    """
    values = read_yaml(file) if file is not None else {}
    for override in overrides:
        _apply(values, override)
    return validate(kind, values, origin=str(file) if file else "settings")


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; an empty file is an empty mapping.

    A path that does not exist may name a file that comes with uad: `training/demo`.
    """
    try:
        text = shipped_text(str(file)) if is_shipped(file) else file.read_text(encoding="utf-8")
        values = parse_yaml(text)
    except OSError as exc:
        raise ConfigError(
            f"{file} could not be read: {exc.strerror or exc}. Check the path. `uad config list` "
            "names the settings that come with uad."
        ) from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        reason = " ".join(str(exc).split())
        raise ConfigError(f"{file} is not valid YAML: {reason}") from exc
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{file} must contain settings as `key: value`, not a {type(values).__name__}."
        )
    return values


def parse_yaml(text: str) -> Any:
    """What a YAML text says; a key that stands twice in one mapping is refused.

    Raises:
        yaml.YAMLError: it is not valid; PyYAML itself would let the last of two keys win.
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        seen: dict[Any, yaml.Node] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<:` may stand beside its own keys
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                line = seen[key].start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"'{key}' is here twice, also in line {line}. Keep one of them.",
                    key_node.start_mark,
                )
            seen[key] = key_node
        return super().construct_mapping(node, deep)


def validate(kind: type[S], values: Mapping[str, Any], *, origin: str) -> S:
    """Build `kind` from plain values; every problem is named by its dotted key."""
    try:
        return kind.model_validate(values)
    except ValidationError as exc:
        problems = [_sentence(kind, error) for error in exc.errors()]
        raise ConfigError(f"{origin}: " + "; ".join(problems)) from exc


def _sentence(kind: type[BaseModel], error: Any) -> str:
    dotted = ".".join(str(part) for part in error["loc"]) or kind.__name__
    if error["type"] == "extra_forbidden":
        known = ", ".join(_siblings(kind, error["loc"][:-1]))
        return f"unknown key '{dotted}'" + (f" (known here: {known})" if known else "")
    told = error["msg"].removeprefix("Value error, ")
    return f"'{dotted}': {told} (got {error['input']!r:.80})"


def _siblings(kind: Any, location: Sequence[int | str]) -> list[str]:
    for part in location:
        field = getattr(kind, "model_fields", {}).get(str(part))
        kind = field.annotation if field else None
    return list(getattr(kind, "model_fields", {}))


def _keys(dotted: str) -> list[str]:
    """`products."bolt.v2".alpha`: a key that has a dot in it stands in double quotes."""
    found: list[str] = re.findall(r'"[^"]*"|[^."]+', dotted)
    return [key.strip('"') for key in found]


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, separator, text = override.partition("=")
    if not separator or not dotted.strip():
        raise ConfigError(f"'{override}' is not a setting. Write section.key=value.")
    *parents, last = _keys(dotted.strip())
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"'{dotted}': '{parent}' is a value, not a section")
    try:
        values[last] = parse_yaml(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"'{dotted}': {text!r} is not a valid value") from exc


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
