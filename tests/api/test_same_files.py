"""The whole job as a script leaves, byte for byte, the files that the commands leave."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wsi_lpd.synthetic import write_synthetic_slide
from wsi_lpd.types import Size
from wsi_lpd_cli.main import app

SMOKE = Path(__file__).resolve().parents[2] / "configs" / "smoke.yaml"
TIMED = re.compile(r"events\.out\.tfevents|training\.pt$")
"""TensorBoard's events bear the time in name and content; the resumable state bears the seconds that were spent."""

SCRIPT = """
import sys
import wsi_lpd as wl
slide, truth, smoke = sys.argv[1:]
names = ["Tumor", "Stroma", "Immune cells", "Necrosis"]
tiled = wl.tile(slide, "patches", classes=names, annotations=truth, annotations_complete=True, config=smoke)
run = wl.train(tiled.labels, out="runs/one", config=smoke, device="cpu")
done = wl.segment(slide, "m.geojson", model=run.path, mask="m.ome.tif", picture="m.png", config=smoke, device="cpu")
scores = wl.evaluate(done.overlay, truth=truth, classes=names, draws=50, out="scores")
assert 0 <= scores.metrics["protocols"]["B"]["miou"] == scores.scores("B").miou <= 1
"""


def files_below(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not TIMED.search(path.name)
    }


def without_rates(metrics):
    """`metrics.csv` but for its columns of measured speed."""
    lines = [line.split(",") for line in metrics.decode().splitlines()]
    timed = [lines[0].index(name) for name in ("patches_per_s", "data_wait")]
    return [[cell for i, cell in enumerate(line) if i not in timed] for line in lines]


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "one.svs"
    return write_synthetic_slide(path, size_px=Size(1792, 1344), seed=4)


def test_ten_lines_of_python__write_the_files_of_the_commands(slide, tmp_path, monkeypatch):
    by_script, by_command = tmp_path / "a", tmp_path / "b"
    by_script.mkdir()
    by_command.mkdir()
    assert len(SCRIPT.strip().splitlines()) <= 10
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, slide.path, slide.truth_geojson, SMOKE],
        cwd=by_script, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == ""
    monkeypatch.chdir(by_command)
    names = "Tumor,Stroma,Immune cells,Necrosis"
    for words in (
        ["tile", slide.path, "--out", "patches", "--classes", names, "--annotations", slide.truth_geojson,
         "--annotations-complete", "--config", SMOKE],
        ["train", "--labels", "patches/patches.csv", "--out", "runs/one", "--config", SMOKE, "--device", "cpu"],
        ["segment", slide.path, "--out", "m.geojson", "--model", "runs/one", "--mask", "m.ome.tif",
         "--picture", "m.png", "--config", SMOKE, "--device", "cpu"],
        ["evaluate", "m.geojson", "--truth", slide.truth_geojson, "--classes", names, "--draws", 50, "--out", "scores"],
    ):  # fmt: skip
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
    ours, theirs = files_below(by_script), files_below(by_command)
    for files in (ours, theirs):
        files["runs/one/metrics.csv"] = without_rates(files["runs/one/metrics.csv"])
    assert {"m.geojson", "m.ome.tif", "m.png", "runs/one/model.safetensors", "scores/metrics.json"} < set(ours)
    assert set(ours) == set(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
