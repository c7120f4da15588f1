"""Two checkouts under the same command line, each with its own code."""

from __future__ import annotations

import pytest

from benchmarks.commits import Case, cases, opened, paired
from wsi_lpd.errors import ConfigError

PROGRAM = """
import json, sys, time
from pathlib import Path
from wsi_lpd import BALLAST

def run():
    ballast = bytearray(BALLAST)
    Path(sys.argv[2]).mkdir()
    time.sleep(len(ballast) / 1e9)
    print(json.dumps({"slides": [{"seconds": {"read": len(ballast) / 1e8, "write": 1.0}}]}))
"""


def checkout(folder, ballast):
    (folder / "wsi_lpd").mkdir(parents=True)
    (folder / "wsi_lpd" / "__init__.py").write_text(f"BALLAST = {ballast}")
    (folder / "cli").mkdir()
    (folder / "cli" / "__init__.py").touch()
    (folder / "cli" / "main.py").write_text(PROGRAM)
    return str(folder)


def test_each_checkout__runs_its_own_code_and_is_measured_alone(tmp_path):
    small, large = checkout(tmp_path / "small", 100_000_000), checkout(tmp_path / "large", 300_000_000)
    case = Case("tile", ("tile", cases.OUT), lambda measured, out: cases._seconds_of_slide(measured) * out.is_dir())
    with opened(small, "base") as base, opened(large, "here") as here:
        cells = dict(zip(paired.COLUMNS, paired._line(case, base, here, 2, tmp_path), strict=True))
        packages = base.packages
    assert cells["work"].startswith("2.000 [2.000, 2.000]")  # 4 s of work against 2 s
    assert 100 < float(cells["base, MB"]) < 150 < 290 < float(cells["here, MB"]) < 350
    assert float(cells["here, s"]) > float(cells["base, s"]) + 0.1
    assert not packages.exists()
    assert not (tmp_path / "out").exists()


def test_a_command_of_ones_own__has_no_seconds_of_work(tmp_path):
    folder = checkout(tmp_path / "one", 1000)
    with opened(folder, "base") as base, opened(folder, "here") as here:
        cells = dict(
            zip(paired.COLUMNS, paired._line(cases.given(["x", "{out}"]), base, here, 1, tmp_path), strict=True)
        )
    assert cells["work"] == ""
    assert "[" not in cells["wall"], "one round has no interval"


def test_the_seconds_of_a_step__leave_out_the_first_line(tmp_path):
    lines = ["part,patches_per_s", "train,0.1", "train,4", "val,", "train,8", "train,2"]
    (tmp_path / "metrics.csv").write_text("\n".join(lines))
    assert cases.step_s(tmp_path) == 2.0  # batches of 8: 2, 1 and 4 s


@pytest.mark.parametrize(
    ("source", "message"), [("no-such-commit", "worktree add.*no-such-commit"), ("empty", "found no wsi_lpd/")]
)
def test_neither_checkout_nor_commit__is_an_error(tmp_path, monkeypatch, source, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message), opened(source, "base"):
        pass


def test_words_of_a_case__get_a_path_of_their_own(tmp_path):
    case = Case("segment", ("segment", tmp_path / "s.svs", "--out", "{out}.geojson"))
    assert case.command(tmp_path / "a") == ["segment", str(tmp_path / "s.svs"), "--out", str(tmp_path / "a.geojson")]
