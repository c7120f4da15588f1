"""The command as it is documented, started by `torchrun` in two processes."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import SMALL

PROGRAMS = Path(sys.executable).parent


def torchrun(labels, out, *, settings=()):
    words = [word for setting in [*SMALL, "model.encoder=pvt_v2_b0", *settings] for word in ("--set", setting)]
    return subprocess.run(
        [
            *(PROGRAMS / "torchrun", "--nproc-per-node", "2", "--no-python", PROGRAMS / "wsi-lpd"),
            *("train", "--labels", labels, "--out", out, "--device", "cpu", "--json", *words),
        ],
        env={name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_torchrun__one_run_one_summary_and_every_line_once(labels_csv, tmp_path):
    done = torchrun(labels_csv, tmp_path / "run", settings=["train.epochs=1"])
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert Path(summary["run"]) == tmp_path / "run"
    assert set(summary["metrics"]) >= {"loss", "exact_match"}
    told = done.stderr.splitlines()
    assert len(told) == len(set(told))
    assert sum("labelled patches of" in line for line in told) == 1
    assert not [line for line in told if "arning" in line]
    with (tmp_path / "run" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows if row["part"] == "train"] == list(range(1, len(rows)))
    again = torchrun(labels_csv, tmp_path / "run", settings=["train.epochs=1"])
    assert again.returncode == 0
    assert json.loads(again.stdout)["was_finished"]


@pytest.mark.slow
def test_torchrun__an_error_is_one_line_of_ours(tmp_path):
    done = torchrun(tmp_path / "gone.csv", tmp_path / "run")
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [
        f"error: {tmp_path / 'gone.csv'}: no such file or folder"
    ]
    assert not (tmp_path / "run").exists()
