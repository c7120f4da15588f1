"""`configs/default.yaml` and the tables of `docs/configuration.md`, both written from the fields' descriptions.

`python -m wsi_lpd.config.document` writes them anew; a test holds them to what it would write.
"""

from __future__ import annotations

import argparse
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wsi_lpd.config.project import Config

_HEAD = """\
# Every setting with its default. Copy what you change; a missing key keeps its default.
# Written by `python -m wsi_lpd.config.document` from the descriptions in wsi_lpd/config/ and wsi_lpd/methods/.
"""
_MARKDOWN_HEAD = """\
# Configuration

Every command reads one YAML file (`--config FILE`) and `--set key=value`, which wins over it. A missing key keeps its
default, an unknown key is an error, and an empty value is `null`. What a method changes in the defaults is its preset
([methods.md](methods.md)); a file and `--set` win over it.

This page and `configs/default.yaml` are written by `python -m wsi_lpd.config.document` from the descriptions in the
code.
"""


class Setting(NamedTuple):
    """One key of the configuration."""

    key: str
    default: Any
    values: str
    """What it may be: a range, or the choices; empty where everything of its type may be."""
    description: str


class Group(NamedTuple):
    """A section of the configuration; its own keys, without those of sections inside it."""

    key: str
    title: str
    settings: tuple[Setting, ...]


def groups(config: BaseModel | None = None, key: str = "") -> Iterator[Group]:
    """All sections in the order of the file; the keys outside any section come first, with the key ''."""
    section = Config() if config is None else config
    fields = type(section).model_fields
    below = {name: value for name in fields if isinstance(value := getattr(section, name), BaseModel)}
    tree = section.model_dump(mode="json")
    own = tuple(
        Setting(name, tree[name], allowed_values(field), field.description or "")
        for name, field in fields.items()
        if name not in below
    )
    yield Group(key, (type(section).__doc__ or "").strip().splitlines()[0], own)
    for name, value in below.items():
        yield from groups(value, f"{key}.{name}".lstrip("."))


def allowed_values(field: FieldInfo) -> str:
    """A range or the choices of a field, in words; 'or null' where it may be left empty."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, types.UnionType) else ()
    inner = next((kind for kind in kinds if kind is not type(None)), field.annotation)
    if get_origin(inner) is Literal:
        text = "one of " + ", ".join(str(choice) for choice in get_args(inner))
    elif inner is bool:
        text = "true or false"
    else:
        text = _range(field)
    if type(None) not in kinds:
        return text
    return f"{text}, or null" if text else "or null"


def default_yaml() -> str:
    """The file `configs/default.yaml`: every key, a comment above it."""
    lines = [_HEAD.rstrip("\n")]
    for group in groups():
        indent = "  " * (group.key.count(".") + 1) if group.key else ""
        if group.key:
            lines += ["", f"{indent[:-2]}# {group.title}", f"{indent[:-2]}{group.key.rpartition('.')[2]}:"]
        for setting in group.settings:
            allowed = f" [{setting.values}]" if setting.values else ""
            value = _inline(setting.default)
            lines += [f"{indent}# {setting.description}{allowed}", f"{indent}{setting.key}: {value}"]
    return "\n".join(lines) + "\n"


def configuration_markdown() -> str:
    """The page `docs/configuration.md`: a table for each section."""
    parts = [_MARKDOWN_HEAD]
    for group in groups():
        title = f"## `{group.key}`\n\n{group.title}" if group.key else "## The whole"
        rows = [
            f"| `{setting.key}` | `{_inline(setting.default)}` | {setting.values} | {_cell(setting.description)} |"
            for setting in group.settings
        ]
        parts.append("\n".join([title, "", "| key | default | values | what it does |", "|---|---|---|---|", *rows]))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _range(field: FieldInfo) -> str:
    low, high = "", ""
    for limit in field.metadata:
        match limit:
            case annotated_types.Ge(ge=value):
                low = f"at least {value:g}"
            case annotated_types.Gt(gt=value):
                low = f"above {value:g}"
            case annotated_types.Le(le=value):
                high = f"at most {value:g}"
            case annotated_types.Lt(lt=value):
                high = f"below {value:g}"
    return ", ".join(filter(None, (low, high)))


def _inline(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Writes both files below the repository's root."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default=".", type=Path, help="the repository (default: the current folder)")
    root: Path = parser.parse_args().root
    (root / "configs" / "default.yaml").write_text(default_yaml(), encoding="utf-8")
    (root / "docs" / "configuration.md").write_text(configuration_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main()
