"""`tile --workers`: the stores and the label file of a call without it, to the byte."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_slides import tissue_pixels, write_svs
from typer.testing import CliRunner, Result

from wsi_lpd.config import TileConfig, TissueConfig
from wsi_lpd.tiling.slide_task import SlideTask
from wsi_lpd_cli.main import app

SMALL = ["--patch-size", "48", "--set", "tile.tissue.preset=everything", "--classes", "A,B"]


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["tile", *map(str, arguments), *SMALL])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slides")
    sizes = [(900, 700), (700, 900), (640, 300)]
    return [write_svs(folder / f"s{i}.svs", tissue_pixels(*size, seed=i), mpp=0.25) for i, size in enumerate(sizes)]


def test_two_workers__write_what_one_process_writes(slides: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide at all")
    here = run(*slides[:2], broken, slides[2], "--out", tmp_path / "here")
    there = run(*slides[:2], broken, slides[2], "--out", tmp_path / "there", "--workers", 2)
    assert here.exit_code == there.exit_code == 1
    assert f"error: {broken}" in there.output
    expected, found = files_of(tmp_path / "here"), files_of(tmp_path / "there")
    assert len([name for name in expected if name.endswith("zarr.json")]) == 3 * 4
    assert found == expected
    again = run(*slides, "--out", tmp_path / "there", "--workers", 2)
    assert again.exit_code == 0
    assert again.output.count("already finished") == 3


def test_on_a_terminal__there_is_one_line_for_each_slide_and_nothing_of_dask(
    slides: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide at all")
    program = "from wsi_lpd_cli.main import run; run()"
    words = ["tile", str(slides[0]), str(broken), "--out", str(tmp_path / "out"), "--workers", "1", *SMALL]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "INFO" not in done.stderr
    assert len(done.stderr.splitlines()) == 5  # a store, an error, its repetition under a heading, the label file


def test_what_comes_back_of_a_slide__is_small(slides: list[Path], tmp_path: Path) -> None:
    config = TileConfig(mpp=0.25, patch_px=64, tissue=TissueConfig(preset="everything"))
    task = SlideTask(tmp_path, config)
    assert len(pickle.dumps(task)) < 5_000
    n_patches = (900 // 64) * (700 // 64)
    tiled = task.run(slides[0])
    assert len(tiled.boxes) == n_patches
    assert len(pickle.dumps(tiled)) < 50 * n_patches + 5_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers"),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "each name a cluster"),
        (["--workers", "2", "--dry-run"], "--dry-run"),
    ],
)
def test_options_that_do_not_go_together__are_a_usage_error(
    slides: list[Path], tmp_path: Path, options: list[str], message: str
) -> None:
    result = run(slides[0], "--out", tmp_path, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
