"""The whole comparison on tiny slides, as a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.data import SIZES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_comparison__runs_resumes_and_refuses_other_settings(tmp_path):
    def run(*more):
        command = [
            sys.executable, "-m", "benchmarks.methods.compare", "--out", str(tmp_path), "--size", "tiny",
            "--table", "methods", "--rows", "cam,lpd,cam+decoder", "--seeds", "1", "--jobs", "2", "--device", "cpu",
            *more,
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, cwd=ROOT)

    first = run()
    assert first.returncode == 0, first.stderr
    assert "lpd - cam" in first.stdout
    assert "| cam+decoder | none |" in first.stdout
    assert "0 runs to do" not in first.stderr
    stored = json.loads((tmp_path / "results" / "synthetic-lpd-0.json").read_text())
    images = stored["scored"]["none"]["oracle"]["images"]
    assert len(images) == 4 * SIZES["tiny"].n_held_out
    assert len({image["group"] for image in images}) == SIZES["tiny"].n_held_out
    assert stored["peak_mb"] > 100
    assert stored["training"]["seconds_per_epoch"] > 0
    assert (tmp_path / "table.md").read_text().strip() == first.stdout.strip()
    again = run()
    assert "0 runs to do" in again.stderr
    assert again.stdout == first.stdout
    other = run("--steps", "3")
    assert other.returncode == 1
    assert "made with other settings" in other.stderr
    assert str(tmp_path) not in first.stdout
