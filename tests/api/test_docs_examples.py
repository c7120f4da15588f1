"""The examples of docs/api.md run, one after another, as somebody who reads the page would run them."""

import re
import subprocess
import sys
from pathlib import Path

import wsi_lpd

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_every_example__runs_in_order(tmp_path):
    assert len(EXAMPLES) >= 10
    assert TEXT.count("```python") == len(EXAMPLES)
    script = tmp_path / "examples.py"
    # Workers import the script again, as the page says: nothing of it is theirs to run.
    guarded = [f"if __name__ == '__main__':\n{_indented(example)}" for example in EXAMPLES]
    script.write_text("\n".join(guarded))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "there is no no/such/run" in done.stdout
    assert "two.svs" in done.stdout
    assert "already" in done.stdout
    for name in ("one.geojson", "one.png", "again.geojson", "fine.geojson", "maps/one.geojson", "patches/patches.csv"):
        assert (tmp_path / name).is_file(), name


def _indented(example):
    return "".join(f"    {line}" if line.strip() else line for line in example.splitlines(keepends=True))


def test_the_page__names_every_public_function():
    listed = set(re.findall(r"^\| `(\w+)\(", TEXT, re.MULTILINE))
    assert listed == set(wsi_lpd.__all__) - {"__version__", "WsiLpdError"}
