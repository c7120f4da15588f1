"""One slide on two workers: the files of one process, to the byte, whoever dies on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from colour_predictor import landmarks
from distributed import Client
from meddling import CONFIG, Meddling, job, make_small
from tiny_slides import tissue_pixels, write_svs
from typer.testing import CliRunner

from wsi_lpd.distributed.cluster import ClusterChoice, connected
from wsi_lpd.distributed.slides import SlideItem
from wsi_lpd.lock import locked
from wsi_lpd.segmentation.cluster import SegmentTask, segment_slides
from wsi_lpd.segmentation.outputs import Outputs
from wsi_lpd.tiling.tiler import write_missing
from wsi_lpd_cli.main import app

TILE = ["--patch-size", "48", "--set", "tile.tissue.preset=everything", "--set", "tile.mpp=0.25", "--classes", "A,B"]

APERIO = "Aperio Image Library v11\n1300x1000 (64x64)|AppMag = 40|MPP = 0.25"


@pytest.fixture(scope="module")
def meddled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """A cluster of two workers, and the folder of their plugin."""
    folder = tmp_path_factory.mktemp("meddling")
    with connected(ClusterChoice(workers=2)) as client:
        client.register_plugin(Meddling(folder))
        yield client, folder


@pytest.fixture
def cluster(meddled: tuple[Client, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[ClusterChoice, Path]:
    """How to find the cluster, and the folder with nothing in it. Shards and strips are small here too."""
    client, folder = meddled
    client.wait_for_workers(2)
    for left in folder.iterdir():
        left.unlink()
    make_small(monkeypatch.setattr)
    return ClusterChoice(scheduler=client.scheduler.address), folder


def tile(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["tile", *map(str, arguments), *TILE])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def written(folder: Path) -> dict[int, int]:
    """Which process wrote each piece. None was written twice, and all while this process held the lock."""
    lines = [tuple(map(int, line.split())) for line in (folder / "written").read_text().splitlines()]
    assert {holder for _, _, holder in lines} == {os.getpid()}
    who = {number: process for number, process, _ in lines}
    assert len(who) == len(lines)
    return who


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_svs(tmp_path / "tiny.svs", tissue_pixels(1300, 1000), mpp=0.25)


def test_tile_in_blocks__writes_the_store_of_one_process_though_a_worker_dies(
    cluster: tuple[ClusterChoice, Path], slide: Path, tmp_path: Path
) -> None:
    choice, folder = cluster
    here, there = tmp_path / "here", tmp_path / "there"
    tile(slide, "--out", here)
    (folder / "dies at").write_text("7")
    output = tile(slide, "--out", there, "--scheduler", choice.scheduler)
    assert files_of(there) == files_of(here)
    assert {path.name for path in there.iterdir()} == {"tiny.zarr", "tiny.preview.png", "patches.csv"}
    assert "540 patches in " in output
    assert not (folder / "dies at").exists()
    who = written(folder)
    assert sorted(who) == list(range(14))
    assert len(set(who.values())) > 1
    assert "already finished" in tile(slide, "--out", there, "--scheduler", choice.scheduler)


def test_a_store_that_one_process_left__is_finished_in_blocks_and_the_other_way_round(
    cluster: tuple[ClusterChoice, Path], slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice, folder = cluster
    here, there = tmp_path / "here", tmp_path / "there"
    tile(slide, "--out", here)

    def only_two(slide: object, plan: object, writer: object, **options: object) -> None:
        writer.missing = [3, 7]
        write_missing(slide, plan, writer, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("wsi_lpd.tiling.tiler.write_missing", only_two)
        assert "interrupted" in tile(slide, "--out", there)
    assert "(resumed)" in tile(slide, "--out", there, "--scheduler", choice.scheduler)
    assert sorted(written(folder)) == [i for i in range(14) if i not in (3, 7)]
    assert files_of(there) == files_of(here)


def test_a_slide_that_somebody_else_writes__is_reported_and_left_alone(
    cluster: tuple[ClusterChoice, Path], slide: Path, tmp_path: Path
) -> None:
    choice, _ = cluster
    with locked(tmp_path / "out" / "tiny.zarr"):
        output = tile(slide, "--out", tmp_path / "out", "--scheduler", choice.scheduler)
    assert f"error: {tmp_path / 'out' / 'tiny.zarr'}: process {os.getpid()}" in output
    assert not list((tmp_path / "out").iterdir())


def test_segment_in_blocks__writes_the_files_of_one_process_though_a_worker_dies(
    cluster: tuple[ClusterChoice, Path], write_slide: Callable[..., Path], tmp_path: Path
) -> None:
    choice, folder = cluster
    image = landmarks(noise=3)[:, 400:]
    path = str(write_slide(np.concatenate([image, image[::-1, ::-1], image[200:]])))
    a, b = tmp_path / "a", tmp_path / "b"
    here, there = (Outputs(folder / "m.geojson", folder / "m.ome.tif", folder / "m.png") for folder in (a, b))
    expected = job().run(path, here)
    (folder / "dies at").write_text("10")
    task = SegmentTask(tmp_path / "run", CONFIG, "cpu")
    (outcome,) = segment_slides(choice, task, [SlideItem(path)], {path: there})
    assert outcome.error is None
    assert (outcome.result.n_regions, outcome.result.n_windows) == (expected.n_regions, expected.n_windows)
    assert outcome.result.area_mm2 == expected.area_mm2
    assert files_of(b) == files_of(a)
    assert not (folder / "dies at").exists()
    who = written(folder)
    assert sorted(who) == list(range(len(who)))
    assert len(who) > 15
    assert len(set(who.values())) > 1


def test_a_slide_that_is_damaged_inside__is_reported_once(
    cluster: tuple[ClusterChoice, Path], write_slide: Callable[..., Path], tmp_path: Path
) -> None:
    choice, _ = cluster
    slide = write_slide(tissue_pixels(1300, 1000), name="tiny.svs", description=APERIO)
    with tifffile.TiffFile(slide) as tif:
        start, n_bytes = tif.pages[0].dataoffsets[40], tif.pages[0].databytecounts[40]
    data = slide.read_bytes()
    slide.write_bytes(data[:start] + b"\xa5" * n_bytes + data[start + n_bytes :])
    output = tile(slide, "--out", tmp_path / "out", "--scheduler", choice.scheduler)
    assert sum(line.startswith("error: ") for line in output.splitlines()) == 1
    assert f"error: {slide}: its pixels cannot be read" in output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tiny.zarr.partial"}
