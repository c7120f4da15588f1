"""`configs/default.yaml` and the tables of `docs/configuration.md`, both written from the fields' descriptions.

`python -m wsi_lpd.config.document` writes them anew; a test holds them to what it would write.
"""

from __future__ import annotations

import argparse
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wsi_lpd.config.method import methods
from wsi_lpd.config.project import Config
from wsi_lpd.datasets import DATA_SETS

_HEAD = """\
# Every setting with its default. Copy what you change; a missing key keeps its default, an empty value is null.
# Each line above a key says what it does and, in brackets, its unit and what it may be.
# Written by `python -m wsi_lpd.config.document` (`make config`) from the descriptions in the code: do not edit.
"""
_MARKDOWN_HEAD = """\
# Configuration

Every command reads one YAML file (`--config FILE`) and `--set key=value`, which wins over it. A missing key keeps its
default, an unknown key is an error, and an empty value is `null`. `configs/default.yaml` holds every key; the other
files in `configs/` state only what they change.

This page and `configs/default.yaml` are written by `python -m wsi_lpd.config.document` (`make config`) from the
descriptions in the code, and a test compares them: change the description, not this page.
"""
_METHODS_HEAD = """\
## Methods

`method` names one of these. Each changes some defaults, its preset; a file and `--set` win over it. What the methods
are, and how they compare: [methods.md](methods.md). A method is one folder below `wsi_lpd/methods/`: `__init__.py`
declares its name, preset, settings and loss terms, `loss.py` its loss and the network parts it trains; the trainer,
the commands and this page find it there."""
_DATA_SETS_HEAD = """\
## Public data sets

Patches and masks of these are read as they come (`wsi_lpd/datasets.py`). Licences are those their authors state: check
them before you use the data."""
_UNITS: Final = {"px": "px", "um": "um", "um2": "um2", "mpp": "um per px"}
"""Unit of a number by the last word of its key."""


class Setting(NamedTuple):
    """One key of the configuration."""

    key: str
    default: Any
    values: str
    """Its unit and what it may be."""
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
        Setting(name, tree[name], allowed_values(name, field), field.description or "")
        for name, field in fields.items()
        if name not in below
    )
    yield Group(key, (type(section).__doc__ or "").strip().splitlines()[0], own)
    for name, value in below.items():
        yield from groups(value, f"{key}.{name}".lstrip("."))


def allowed_values(key: str, field: FieldInfo) -> str:
    """Unit, kind, range or choices of a field, in words; 'or null' where it may be left empty."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, types.UnionType) else ()
    inner = next((kind for kind in kinds if kind is not type(None)), field.annotation)
    parts = [_UNITS.get(key.rpartition("_")[2], ""), _kind(inner), _range(field), "or null" if kinds else ""]
    return ", ".join(filter(None, parts))


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_kind(get_args(annotation)[0])}s"
    return {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}[annotation]


def default_yaml() -> str:
    """The file `configs/default.yaml`: every key, a comment above it."""
    lines = [_HEAD.rstrip("\n")]
    for group in groups():
        indent = "  " * (group.key.count(".") + 1) if group.key else ""
        if group.key:
            lines += ["", f"{indent[:-2]}# {group.title}", f"{indent[:-2]}{group.key.rpartition('.')[2]}:"]
        for setting in group.settings:
            comment = f"{indent}# {setting.description} [{setting.values}]"
            lines += [comment, f"{indent}{setting.key}: {_inline(setting.default)}"]
    return "\n".join(lines) + "\n"


def configuration_markdown() -> str:
    """The page `docs/configuration.md`: a table for each section, one of the methods and one of the data sets."""
    parts = [_MARKDOWN_HEAD, _METHODS_HEAD, _methods_table(), _DATA_SETS_HEAD, _data_sets_table()]
    for group in groups():
        title = f"## `{group.key}`\n\n{group.title}" if group.key else "## Outside all sections"
        rows = [(f"`{s.key}`", f"`{_inline(s.default)}`", s.values, s.description) for s in group.settings]
        parts += [title, _table(("key", "default", "unit and range", "what it does"), rows)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _methods_table() -> str:
    defaults = {f"{group.key}.{setting.key}": setting.default for group in groups() for setting in group.settings}
    rows = [
        (
            f"`{spec.name}`",
            spec.summary,
            ", ".join(f"`{name}`" for name in spec.settings),
            ", ".join(f"`{key}={_inline(value)}`" for key, value in spec.changes.items() if value != defaults[key]),
        )
        for spec in methods().values()
    ]
    return _table(("method", "what it is", "own sections", "preset (what differs from the defaults)"), rows)


def _data_sets_table() -> str:
    rows = [
        (
            f"[{entry.name}]({entry.source})",
            f"`{entry.key}`",
            entry.tissue,
            ", ".join(f"{label} ({name})" for label, name in zip(entry.labels, entry.names, strict=True)),
            f"{entry.mpp:g}",
            "varies" if entry.patch_px is None else str(entry.patch_px),
            entry.licence,
        )
        for entry in DATA_SETS
    ]
    head = ("data set", "`--coding`", "tissue", "classes, in order (in QuPath)", "um per px", "patch, px", "licence")
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


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


def main() -> None:
    """Writes both files below the repository's root."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default=".", type=Path, help="the repository (default: the current folder)")
    root: Path = parser.parse_args().root
    (root / "configs" / "default.yaml").write_text(default_yaml(), encoding="utf-8")
    (root / "docs" / "configuration.md").write_text(configuration_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main()
