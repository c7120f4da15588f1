"""`kill -9` in the middle of `wsi-lpd train`, then the same command again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import SMALL

LONG = [*SMALL, "train.epochs=8", "train.checkpoint_every=3"]


def command(labels_csv, out):
    program = Path(sys.executable).with_name("wsi-lpd")
    settings = [word for setting in LONG for word in ("--set", setting)]
    return [program, "train", "--labels", labels_csv, "--out", out, "--device", "cpu", *settings]


@pytest.mark.slow
@pytest.mark.parametrize("steps_seen", [1, 7, 20])
def test_a_killed_train__ends_with_the_weights_of_an_undisturbed_one(labels_csv, tmp_path, steps_seen):
    subprocess.run(command(labels_csv, tmp_path / "undisturbed"), check=True, capture_output=True)
    metrics = tmp_path / "killed" / "metrics.csv"
    process = subprocess.Popen(command(labels_csv, tmp_path / "killed"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not metrics.is_file() or len(metrics.read_text().splitlines()) <= steps_seen:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model.json").exists()
    subprocess.run(command(labels_csv, tmp_path / "killed"), check=True, capture_output=True)
    killed, undisturbed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("killed", "undisturbed"))
    assert killed == undisturbed
