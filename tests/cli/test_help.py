"""What the commands print of themselves, and that each is a thin layer on the function of its name."""

import ast
import importlib
import inspect
from enum import Enum
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

import wsi_lpd.api
from wsi_lpd.api import evaluating
from wsi_lpd.api.model import SegmentOptions
from wsi_lpd.config import Config
from wsi_lpd.evaluation.read import CODINGS
from wsi_lpd_cli.evaluate import GateChoice, ProtocolChoice, RefinementChoice
from wsi_lpd_cli.main import app

CLI = Path(__file__).resolve().parents[2] / "cli"
COMMANDS = typer.main.get_command(app).commands
OF_THE_API_ALONE = {"on_error", "progress", "tell"}
CONFIGURED = {
    "tile": {
        "mpp": "tile.mpp", "patch_size": "tile.patch_px", "stride": "tile.stride_px", "min_tissue": "tile.min_tissue",
        "tissue_mask": "tile.tissue.mask",
    },
    "segment": {
        "overlap": "segment.overlap", "gate": "segment.gate", "simplify": "segment.simplify",
        "max_vertices": "segment.max_vertices", "min_area": "segment.min_area_um2", "min_hole": "segment.min_hole_um2",
        "merge": "segment.merge", "origin": "segment.origin", "tissue_mask": "segment.tissue.mask",
        "allow_upsampling": "segment.allow_upsampling",
    },
    "evaluate": {"refine": "segment.refine"},
}  # fmt: skip
IN_WORDS = {
    ("tile", "stride"): "the patch size",
    ("segment", "max_vertices"): "no limit",
    ("segment", "min_hole"): "the value of --min-area",
    ("segment", "merge"): "split",
    ("segment", "allow_upsampling"): "off",
}


def plain(value):
    value = value.value if isinstance(value, Enum) else value
    return str(value) if isinstance(value, Path) else value


def options_of(command):
    """Default of each parameter of a command by its name; `...` where it has none."""
    return {
        name: ... if p.default is p.empty else plain(p.default)
        for name, p in inspect.signature(COMMANDS[command].callback.__wrapped__).parameters.items()
    }


def keywords_of(function):
    return {
        name: ... if p.default is p.empty else plain(p.default)
        for name, p in inspect.signature(function).parameters.items()
    }


@pytest.mark.parametrize("name", ["tile", "train", "segment", "evaluate"])
def test_options_and_keywords__agree_in_names_and_defaults(name):
    options, keywords = options_of(name), keywords_of(getattr(wsi_lpd.api, name))
    assert options.pop("as_json") is False
    assert options.pop("settings") is None
    assert keywords.pop("settings") == ()
    assert options == {key: value for key, value in keywords.items() if key not in OF_THE_API_ALONE}


@pytest.mark.parametrize("name", ["tile", "train", "segment", "evaluate"])
def test_every_option__is_spelt_as_its_keyword(name):
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option" and parameter.name not in ("as_json", "settings", "help"):
            assert f"--{parameter.name.replace('_', '-')}" in parameter.opts, parameter.opts


def test_a_loaded_model__segments_with_the_same_keywords():
    keywords = set(keywords_of(wsi_lpd.api.segment)) - {"slides", "out", "model"}
    assert set(SegmentOptions.__annotations__) == keywords


def test_the_choices_of_evaluate__are_those_of_the_library():
    assert set(evaluating.CODINGS) == set(CODINGS)
    assert {choice.value for choice in ProtocolChoice} == set(evaluating.PROTOCOLS)
    assert {choice.value for choice in GateChoice} == {"auto", *evaluating.GATES}
    assert {choice.value for choice in RefinementChoice} == set(evaluating.REFINEMENTS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help__prints_every_default(name):
    for parameter in COMMANDS[name].params:
        is_flag = getattr(parameter, "is_flag", False) and not parameter.secondary_opts
        if parameter.required or is_flag or parameter.name == "help":
            continue
        assert "default: " in (parameter.help or "") or (parameter.show_default and parameter.default is not None), (
            parameter.name
        )


@pytest.mark.parametrize(("name", "option", "key"), [(n, o, k) for n in CONFIGURED for o, k in CONFIGURED[n].items()])
def test_defaults_from_the_configuration__are_those_of_the_configuration(name, option, key):
    value = Config()
    for part in key.split("."):
        value = getattr(value, part)
    expected = IN_WORDS.get((name, option), "none" if value is None else f"{value:g}" if value != str(value) else value)
    (parameter,) = (p for p in COMMANDS[name].params if p.name == option)
    assert f"[default: from configuration, {expected}]" in parameter.help


def test_every_option_that_says_so__is_of_the_configuration():
    for name, command in COMMANDS.items():
        found = {p.name for p in command.params if "from configuration" in (getattr(p, "help", "") or "")}
        assert found == set(CONFIGURED.get(name, {}))


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help__stays_within_the_terminal(name, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    result = CliRunner().invoke(app, [name, "--help"], terminal_width=int(width))
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= int(width)
    assert "..." not in result.stdout.replace("}...", "").partition("Options:")[2]


def test_help__cuts_no_summary_short(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in CliRunner().invoke(app, ["--help"]).stdout.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["segment", "s.svs", "--out", "m.geojson", "--mpp", "0.25"], "error: --mpp is now --slide-mpp"),
        (["segment", "s.svs", "--out", "m.geojson", "--mpp=0.25"], "error: --mpp is now --slide-mpp"),
        (["segment", "s.svs", "--out", "m.geojson", "--overlay", "o.png"], "error: --overlay is now --picture"),
        (["evaluate", "--model", "run", "--truth", "t", "--mpp", "0.5"], "error: --mpp is now --slide-mpp"),
        (["info", "s.svs", "--mpp", "0.5"], "error: --mpp is now --slide-mpp"),
        (["synth", "--out", "o", "--mpp", "0.5"], "error: --mpp is now --slide-mpp"),
    ],
)
def test_an_old_spelling__is_one_line_that_names_the_new_one(words, told):
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [told]
    assert result.stdout == ""


def test_mpp__exists_only_where_patches_get_their_scale():
    with_mpp = [name for name, command in COMMANDS.items() if any("--mpp" in p.opts for p in command.params)]
    assert with_mpp == ["tile"]
    for name in ("tile", "segment", "evaluate", "info", "synth"):
        assert any("--slide-mpp" in p.opts for p in COMMANDS[name].params), name


def test_no_function_of_the_command_line__is_over_60_lines():
    lengths = {
        f"{path.name}:{node.name}": node.end_lineno - node.lineno + 1
        for path in CLI.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(lengths) > 50
    assert {name: n for name, n in lengths.items() if n > 60} == {}


VALUES = {
    "mpp": 0.7, "patch_size": 72, "stride": 31, "min_tissue": 0.3, "tissue_mask": Path("m.png"), "overlap": 0.35,
    "gate": "none", "simplify": 2.5, "max_vertices": 77, "min_area": 12.0, "min_hole": 34.0, "merge": True,
    "origin": "level0", "allow_upsampling": True, "refine": "pamr",
}  # fmt: skip
REQUIRED = {"tile": ["s.svs"], "segment": ["s.svs", "--out", "m.geojson"], "evaluate": ["--model", "r", "--truth", "t"]}


class Resolved(Exception):  # noqa: N818 - carries a configuration, and ends the command where it is complete
    pass


@pytest.mark.parametrize(("name", "option"), [(n, o) for n in CONFIGURED for o in CONFIGURED[n]])
def test_an_option__sets_its_key_and_no_other(name, option, monkeypatch):
    home = importlib.import_module(
        {"tile": "wsi_lpd.api.tiling", "segment": "wsi_lpd.api.segmenting"}.get(name, "wsi_lpd.api.evaluating")
    )
    resolve = home.configuration

    def stop(*given):
        raise Resolved(resolve(*given))

    monkeypatch.setattr(home, "configuration", stop)
    value = VALUES[option]
    words = [f"--{option.replace('_', '-')}", *([] if value is True else [str(value)])]
    result = CliRunner().invoke(app, [name, *REQUIRED[name], *words])
    assert isinstance(result.exception, Resolved), result.output
    assert flat(result.exception.args[0]) == {**flat(Config()), CONFIGURED[name][option]: value}


def flat(config, prefix=""):
    """The values of a configuration by dotted key."""
    values = {}
    for key in type(config).model_fields:
        value = getattr(config, key)
        values |= flat(value, f"{prefix}{key}.") if hasattr(type(value), "model_fields") else {f"{prefix}{key}": value}
    return values
