"""Every setting is described, and `configs/default.yaml` and its page are written from the descriptions."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from wsi_lpd.config import Config, dump_config, load_config, methods
from wsi_lpd.config.document import configuration_markdown, default_yaml, groups, main
from wsi_lpd.datasets import DATA_SETS

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = [(f"{group.key}.{setting.key}".lstrip("."), setting) for group in groups() for setting in group.settings]
TEXTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "configs").glob("*.yaml")]


def test_default_yaml_and_its_page__are_what_the_descriptions_make(tmp_path, monkeypatch):
    for name in ("configs", "docs"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("sys.argv", ["document", str(tmp_path)])
    main()
    for name in ("configs/default.yaml", "docs/configuration.md"):
        made, kept = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, ROOT))
        assert made == kept, f"{name} is not what the descriptions say; run python -m wsi_lpd.config.document"
    assert load_config(ROOT / "configs" / "default.yaml") == Config()
    assert yaml.safe_load(default_yaml()) == yaml.safe_load(dump_config(Config()))


@pytest.mark.parametrize(("key", "setting"), SETTINGS, ids=[key for key, _ in SETTINGS])
def test_every_setting__has_a_sentence_a_unit_and_a_range(key, setting):
    assert re.fullmatch(r"[A-Z`].{10,}\.", setting.description), "one sentence on one line"
    assert setting.description.count("`") % 2 == 0
    assert setting.values
    assert ("or null" in setting.values) == (setting.default is None), "a default of null, and only that, is allowed"
    assert not re.search(r"(?<!`)\bnone\b(?!`)|\bNone\b", setting.description.replace("have none", ""))
    if setting.default is None:
        assert "null = " in setting.description or "instead of" in setting.description or key == "model.vectors"
    unit = {"px": "px", "um": "um", "um2": "um2", "mpp": "um per px"}.get(key.rpartition(".")[2].rpartition("_")[2])
    assert unit is None or setting.values.startswith(unit)


def test_default_yaml__has_one_comment_line_above_every_key():
    lines = default_yaml().splitlines()
    comments = [line for line in lines if line.lstrip().startswith("#")]
    assert len(SETTINGS) > 150
    assert len(comments) == len(SETTINGS) + len(list(groups())) - 1 + 3
    for above, line in pairwise(lines):
        assert above.lstrip().startswith("#") or ":" not in line or line.lstrip().startswith("#"), line


def test_the_page__has_every_method_and_data_set():
    page = configuration_markdown()
    for spec in methods().values():
        assert f"| `{spec.name}` | {spec.summary} |" in page
    for entry in DATA_SETS:
        assert f"| [{entry.name}]({entry.source}) | `{entry.key}` |" in page
    assert "`model.prototypes=centres`" in page


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_texts__write_null_for_an_empty_value(path):
    text = path.read_text(encoding="utf-8")
    optional = {key for key, setting in SETTINGS if setting.default is None}
    assert len(optional) > 8
    last_words = {key.rpartition(".")[2] for key in optional}
    wrong = [word for word in last_words if re.search(rf"\b{word}\s*[=:]\s*[Nn]one\b", text)]
    assert not wrong
    assert not re.search(r"[;,(] none =|\bnone = ", text)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_configuration__says_what_it_is_for_and_nothing_twice(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    if path.stem == "default":
        return
    tree = yaml.safe_load(text)
    assert tree["name"] == path.stem
    assert load_config(path).name == path.stem
