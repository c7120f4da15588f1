"""Commands that the documentation names exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = [ROOT / "Makefile", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in PLACES}
TABLE = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
COMMANDS = {f"benchmarks.{name}" for name in re.findall(r"^\| `(\w+\.\w+)", TABLE, re.MULTILINE)}
NAMED = {name for text in TEXTS.values() for name in re.findall(r"-m (benchmarks[.\w]+)", text)}


def test_the_readme__lists_every_command():
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "benchmarks").glob("*/*.py")
        if "parser_of(__doc__)" in path.read_text(encoding="utf-8")
    }
    assert modules == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS | NAMED))
def test_a_command_in_the_documentation__can_be_run(name):
    spec = importlib.util.find_spec(name)
    assert spec is not None
    text = Path(str(spec.origin)).read_text(encoding="utf-8")
    assert '__name__ == "__main__"' in text
    assert f"python -m {name}" in text, "its help says how to call it"


def test_no_old_path__is_left():
    old = re.compile(r"python benchmarks/")
    assert [name for name, text in TEXTS.items() if old.search(text)] == []
