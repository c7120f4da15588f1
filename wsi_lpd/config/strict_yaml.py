"""YAML as people write settings: a key once, no dates, no anchors, no more than a file of settings can hold."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable
from typing import Any, Final

import yaml

from wsi_lpd.errors import ConfigError

_MOST_CHARACTERS: Final = 1_000_000
_LARGEST: Final = 2**53


def parse_yaml(text: str, *, source: str) -> Any:
    """The value of a YAML text.

    Numbers such as `1e-4`, which YAML 1.1 takes for text, are numbers; what looks like a date stays text.

    Args:
        text: YAML.
        source: File or option, for errors.

    Raises:
        ConfigError: If it is no YAML, has a key twice, uses anchors or tags, or is too long or too deep.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(f"{source}: has {len(text):,} characters, expected settings ({_MOST_CHARACTERS:,} at most)")
    try:
        return _numbers(yaml.load(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError) as err:
        raise ConfigError(f"{source}: is not valid YAML ({' '.join(str(err).split())[:300]})") from err
    except RecursionError as err:
        raise ConfigError(f"{source}: is nested too deeply, expected sections with keys") from err


class _Loader(yaml.SafeLoader):
    """Refuses what a file of settings has no use for."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not supported; write the value out",
                                       problem_mark=event.start_mark)  # fmt: skip
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first_lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = key_node.value if isinstance(key_node, yaml.ScalarNode) else None, key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem="a key is not a name", problem_mark=key_node.start_mark)
            if key in first_lines:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} is set twice, in lines {first_lines[key]} and {line}; keep one of them"
                )
            first_lines[key] = line
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:timestamp",)]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _numbers(tree: Any) -> Any:
    """The tree with texts such as `1e-4` as numbers."""
    if isinstance(tree, dict):
        return {key: _numbers(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_numbers(value) for value in tree]
    if isinstance(tree, int) and abs(tree) > _LARGEST:
        raise ValueError("a whole number is larger than 2**53")
    if isinstance(tree, str):
        with contextlib.suppress(ValueError):
            return float(tree) if tree[:1] in "+-.0123456789" else tree
    return tree
