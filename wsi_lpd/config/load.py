"""A configuration from a file, `--set key=value` and options of the command line; and back to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from wsi_lpd.config.method import methods
from wsi_lpd.config.project import CACHED, Config
from wsi_lpd.config.strict_yaml import parse_yaml
from wsi_lpd.errors import ConfigError

_SHOWN = 80
"""Characters of a wrong value that an error shows."""


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file (or starts from the defaults) and applies `key=value` overrides in order.

    What neither states is the preset of the method or of a cache, and then the default.

    Args:
        path: A YAML file with any part of the schema; a missing key keeps its default.
        overrides: Such as `train.epochs=3` or `model.scales=[2, 3]`; the value is read as YAML.

    Raises:
        ConfigError: All problems at once, each with its key, what was found and what was expected.
    """
    tree: dict[str, Any] = {} if path is None else _read_yaml(path)
    for override in overrides:
        _apply(tree, override)
    tree = _merged(_preset(tree), tree)
    return validated(tree, source="configuration" if path is None else str(path))


def validated(tree: Mapping[str, Any], *, source: str) -> Config:
    """Checks a parsed configuration; `source` is named in the error."""
    try:
        return Config.model_validate(tree)
    except ValidationError as err:
        lines = [f"  {_describe(problem)}" for problem in err.errors()]
        raise ConfigError("\n".join([f"{source}: {len(lines)} problem(s)", *lines])) from err


def updated(config: Config, changes: Mapping[str, Any]) -> Config:
    """A copy of `config` with dotted keys changed; a value of None leaves its key alone.

    Raises:
        ConfigError: If a value does not fit.
    """
    tree = config.model_dump(mode="json")
    for key, value in changes.items():
        if value is not None:
            _put(tree, key, str(value) if isinstance(value, Path) else value)
    return validated(tree, source="command line")


def dump_config(config: Config) -> str:
    """The whole configuration as YAML, every default written out; `load_config` reads it back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _preset(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The presets of the stated method and of a cache; nothing for a method that validation will refuse."""
    tree: dict[str, Any] = {}
    chosen: list[Mapping[str, Any]] = [spec.changes for name, spec in methods().items() if name == stated.get("method")]
    train = stated.get("train")
    if isinstance(train, Mapping) and train.get("cache_features") is True:
        chosen.append(CACHED)
    for settings in chosen:
        for key, value in settings.items():
            _put(tree, key, value)
    return tree


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, section by section."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: cannot be read ({getattr(err, 'strerror', None) or err})") from err
    tree = parse_yaml(text, source=str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: holds a {type(tree).__name__}, expected keys such as 'train:' or 'model:'")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: expected key=value, such as --set train.epochs=3")
    _put(tree, key.strip(), parse_yaml(text, source=f"--set {override}"))


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {key}: {name} is a value, not a section")
    tree[last] = value


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "configuration"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if problem["type"] == "value_error":
        return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
    found = "null" if problem["input"] is None else repr(problem["input"])
    return f"{key}: {problem['msg']}, got {found if len(found) <= _SHOWN else f'{found[:_SHOWN]} ...'}"
