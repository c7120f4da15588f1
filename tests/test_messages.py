"""Every option and setting that a text names exists: the texts of the library and of the command line, found by AST."""

import ast
import functools
import re
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic import BaseModel

from wsi_lpd.config import Config
from wsi_lpd_cli.main import app

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "wsi_lpd").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])

COMMAND_OF_ROOM = {
    "tiling": "tile",
    "segmentation": "segment",
    "synthetic": "synth",
    "pretraining": "pretrain",
    "prototypes": "prototypes",
    "pseudo_masks": "pseudo-mask",
}
"""Rooms whose messages only one command shows."""

OF_OTHER_PROGRAMS = {("dask", "--scheduler-file"), ("hf", "--local-dir")}
"""(Program, option) that messages quote."""

FILE_ENDINGS = (".md", ".py", ".pt", ".json", ".csv", ".png", ".safetensors")
"""Of files whose name begins like a section: `model.json` is no setting."""

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
DOTTED = re.compile(r"(?<![\w./*<>{}-])([a-z_]+(?:\.[a-z_0-9]+)+)(?![\w/(-])")
QUOTED = re.compile(r"`([a-z]+(?:_[a-z0-9]+)+)`")
SET_KEY = re.compile(r"--set (?!(?i:key=value))([\w.]+)=")


def sections(model, path=()):
    """Every section of the configuration, with its path."""
    yield path, model
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from sections(kind, (*path, name))


SECTION_NAMES = {path[-1] for path, _ in sections(Config) if path}
KEYS = {".".join((*path, name)) for path, model in sections(Config) for name in model.model_fields}


@functools.cache
def options_of_commands():
    group = typer.main.get_command(app)
    shared = {option for parameter in group.params for option in parameter.opts} | {"--help"}
    return {
        name: shared | {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        for name, command in group.commands.items()
    }


def texts(tree):
    """(line, text) of every string that is no docstring; what an f-string puts in is `{}`, a string's parts are one."""
    passed_over = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in passed_over:
            continue
        if isinstance(node, ast.JoinedStr):
            passed_over.update(id(part) for part in ast.walk(node))
            yield node.lineno, "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def all_texts():
    return [(path, line, text) for path in FILES for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))]


def options_in(text):
    quoted = {option for program, option in OF_OTHER_PROGRAMS if re.search(rf"\b{program}\b[^;]*{option}", text)}
    return set(OPTION.findall(text)) - quoted


def settings_in(text):
    """Dotted names whose first part is the name of a section, wherever that section lies, and what `--set` sets."""
    found = {name for name in DOTTED.findall(text) if name.split(".")[0] in SECTION_NAMES}
    return found | {key for key in SET_KEY.findall(text) if key}


def quoted_in(text):
    """Names such as `label_fraction`: keys beside the one that is described."""
    return set(QUOTED.findall(text))


def unknown_options(path, text):
    room = path.relative_to(ROOT).parts[1]
    commands = options_of_commands()
    if room in COMMAND_OF_ROOM:
        return options_in(text) - commands[COMMAND_OF_ROOM[room]]
    return options_in(text) - set().union(*commands.values())


def unknown_settings(text):
    dotted = {name for name in settings_in(text) if not name.endswith(FILE_ENDINGS)}
    paths = {".".join(path) for path, _ in sections(Config)}
    return (dotted - KEYS - paths) | (quoted_in(text) - {key.rpartition(".")[2] for key in KEYS})


def test_options__that_a_text_names_exist():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {sorted(unknown)} in {text!r}"
        for path, line, text in all_texts()
        if (unknown := unknown_options(path, text))
    ]
    assert wrong == []


def test_settings__that_a_text_names_exist_from_the_root_of_the_configuration():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {sorted(unknown)} in {text!r}"
        for path, line, text in all_texts()
        if (unknown := unknown_settings(text))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("take the whole slide (tissue.preset=everything)", {"tissue.preset"}),
        ("--set tile.tissue.preset=everything takes the whole slide", set()),
        ("set `segment.min_area`", {"segment.min_area"}),
        ("raise segment.min_area_um2, or see tile.tissue", set()),
        ("pass --set nothing=3", {"nothing"}),
        ("the file model.json of the run", set()),
        ("see `label_fraction` and `label_share`", {"label_share"}),
    ],
)
def test_the_search__finds_settings_that_do_not_exist(text, unknown):
    assert unknown_settings(text) == unknown


@pytest.mark.parametrize(
    ("file", "text", "unknown"),
    [
        ("wsi_lpd/slide/slide.py", "pass --slide-mpp 0.25, or --scale", {"--scale"}),
        ("wsi_lpd/tiling/plan.py", "pass --mpp or --model", {"--model"}),
        ("wsi_lpd/distributed/cluster.py", "start `dask scheduler --scheduler-file x`", set()),
        ("cli/tile.py", "run again with --classes A,B,C; a--b is no option", set()),
    ],
)
def test_the_search__finds_options_that_do_not_exist(file, text, unknown):
    assert unknown_options(ROOT / file, text) == unknown


def test_the_search__reads_f_strings_whole_and_no_docstrings():
    tree = ast.parse('"""--doc string."""\nraise E(f"a {x} --set tile.{y}=1 " "and --overwrite")\n')
    assert [text for _, text in texts(tree)] == ["a {} --set tile.{}=1 and --overwrite"]
