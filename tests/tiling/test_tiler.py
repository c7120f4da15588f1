"""From slide to store: the right pixels at the right places, the same after a kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from tiny_slides import tissue_pixels, write_svs

from wsi_lpd.config import TileConfig, TissueConfig
from wsi_lpd.errors import BusyError, SlideError, StoreError
from wsi_lpd.stores import sizes as shard_module
from wsi_lpd.stores.patches import PatchStore
from wsi_lpd.tiling import plan as plan_module
from wsi_lpd.tiling import tiler
from wsi_lpd.tiling.plan import open_to_tile, plan_tiling
from wsi_lpd.tiling.tiler import tile_slide
from wsi_lpd.types import Box, Size

SHARD_BYTES = 100 * 48 * 48 * 3  # 100 patches of 48 px: 800 patches of the tiny slide make 8 or so shards


def tiled(slide_path, out, config, **options):
    with open_to_tile(slide_path) as slide:
        return tile_slide(slide, out, plan_tiling(slide, config), **options)


def tree_bytes(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_tile_slide__patches_are_the_slide_averaged_two_by_two(tmp_path, make_slide, tile_config):
    path = make_slide()
    pixels = tifffile.imread(path).astype(np.float64)
    report = tiled(path, tmp_path / "s.zarr", tile_config)
    store = PatchStore.open(report.path)
    assert report.n_patches == len(store) == 18 * 13
    patches = store.read(range(len(store)))
    for patch, (x, y) in zip(patches, store.coords, strict=True):
        wanted = pixels[y : y + 96, x : x + 96].reshape(48, 2, 48, 2, 3).mean(axis=(1, 3))
        assert np.abs(patch - wanted).max() <= 1.0  # rounding of the mean


def test_tile_slide__native_scale_copies_pixels(tmp_path, make_slide):
    path = make_slide()
    pixels = tifffile.imread(path)
    config = TileConfig(mpp=0.25, patch_px=100, tissue=TissueConfig(preset="everything"))
    store = PatchStore.open(tiled(path, tmp_path / "s.zarr", config).path)
    for i in (0, 7, len(store) - 1):
        x, y = store.coords[i]
        np.testing.assert_array_equal(store.read([i])[0], pixels[y : y + 100, x : x + 100])


@pytest.mark.parametrize("threads", [1, 5])
def test_tile_slide__does_not_depend_on_threads(tmp_path, make_slide, tile_config, threads):
    path = make_slide()
    tiled(path, tmp_path / "a.zarr", tile_config, threads=2)
    tiled(path, tmp_path / "b.zarr", tile_config, threads=threads)
    assert tree_bytes(tmp_path / "a.zarr") == tree_bytes(tmp_path / "b.zarr")


def test_tile_slide__a_read_of_many_patches_gives_what_single_reads_give(
    tmp_path, make_slide, tile_config, monkeypatch
):
    path = make_slide()
    tiled(path, tmp_path / "many.zarr", tile_config)
    monkeypatch.setattr(plan_module, "patches_per_read", lambda grid, downsample: 1)
    tiled(path, tmp_path / "single.zarr", tile_config)
    many, single = PatchStore.open(tmp_path / "many.zarr"), PatchStore.open(tmp_path / "single.zarr")
    order = np.lexsort(many.coords.T)
    np.testing.assert_array_equal(many.coords[order], single.coords[np.lexsort(single.coords.T)])
    np.testing.assert_array_equal(many.read(order), single.read(np.lexsort(single.coords.T)))


def test_plan__keeps_tissue_only_and_states_its_share(make_slide):
    path = make_slide(size=Size(3000, 2200))
    config = TileConfig(mpp=0.5, patch_px=100, min_tissue=0.5)
    with open_to_tile(path) as slide:
        plan = plan_tiling(slide, config)
        # Tissue ends at x = 2400 and y = 1980 (conftest); detection works at 8 um, 32 px.
        assert plan.coords[:, 0].max() + 100 <= 2400 + 64
        assert plan.coords[:, 1].max() + 100 <= 1980 + 64
        assert {tuple(c) for c in plan.coords.tolist()} >= {
            (x, y) for x in range(0, 2200, 200) for y in range(0, 1800, 200)
        }
        assert (plan.tissue >= 0.5).all()
        everything = plan_tiling(slide, config.model_copy(update={"min_tissue": 0.0}))
    assert len(everything) == 15 * 11 > len(plan)
    assert everything.tissue.min() == 0
    boxes = np.concatenate([everything.coords, np.full_like(everything.coords, 200)], axis=1)
    np.testing.assert_array_equal(everything.tissue, everything.mask.fractions(boxes))


def test_plan__starts_at_the_bounds(make_slide, tile_config):
    with open_to_tile(make_slide()) as slide:
        slide.bounds = Box(310, 205, 700, 500)
        plan = plan_tiling(slide, tile_config)
    assert plan.coords.min(axis=0).tolist() == [310, 205]
    assert (plan.coords.max(axis=0) + 96 <= [1010, 705]).all()
    assert plan.meta.slide.bounds == Box(310, 205, 700, 500)


def test_tile_slide__smaller_than_a_patch_gives_one_padded_patch(tmp_path, make_slide, tile_config):
    path = make_slide(size=Size(70, 50))
    config = tile_config.model_copy(update={"min_tissue": 0.1})
    store = PatchStore.open(tiled(path, tmp_path / "s.zarr", config).path)
    patch = store.read([0])[0]
    assert len(store) == 1
    assert (patch[:22, :27] < 200).any()
    assert (patch[26:] == 255).all()
    assert (patch[:, 36:] == 255).all()


def test_plan__no_tissue_warns_and_gives_an_empty_store(tmp_path, make_slide, caplog):
    path = make_slide()
    pixels = np.full((1100, 1500, 3), 244, np.uint8)
    with tifffile.TiffFile(path) as tif:
        description = tif.pages[0].description
    tifffile.imwrite(path, pixels, tile=(128, 128), photometric="rgb", description=description, metadata=None)
    report = tiled(path, tmp_path / "s.zarr", TileConfig(patch_px=48))
    assert (report.n_patches, len(PatchStore.open(report.path))) == (0, 0)
    assert "no tissue" in caplog.text


def test_plan__refuses_a_coarser_slide_and_says_how_to_go_on(make_slide, tile_config):
    with open_to_tile(make_slide(mpp=1.0)) as slide:
        with pytest.raises(
            SlideError, match=r"has 1 um/px at best, coarser than the requested 0.5 .*--mpp 1 .*allow_upsampling"
        ):
            plan_tiling(slide, tile_config)
        plan = plan_tiling(slide, tile_config.model_copy(update={"allow_upsampling": True}))
        assert plan.meta.patch_level0_px == 24


def test_plan__takes_a_20x_slide_that_is_a_hair_coarser(make_slide, tile_config):
    with open_to_tile(make_slide(mpp=0.5031)) as slide:
        assert len(plan_tiling(slide, tile_config)) > 0


def test_open_to_tile__no_mpp_names_the_flag_and_the_flag_is_recorded(tmp_path, make_slide, tile_config):
    path = make_slide(mpp=None)
    with pytest.raises(SlideError, match="--slide-mpp"):
        open_to_tile(path)
    with open_to_tile(path, mpp=0.3) as slide:
        meta = plan_tiling(slide, tile_config).meta
    assert (meta.mpp_source, meta.slide.mpp, meta.mpp) == ("user", 0.3, 0.5)


def test_tile_slide__finished_store_is_left_alone(tmp_path, make_slide, tile_config):
    path, out = make_slide(), tmp_path / "s.zarr"
    assert tiled(path, out, tile_config).status == "written"
    stamp = (out / "patches/c/0/0/0/0").stat().st_mtime_ns
    assert tiled(path, out, tile_config.model_copy(update={"label_fraction": 0.3})).status == "unchanged"
    assert (out / "patches/c/0/0/0/0").stat().st_mtime_ns == stamp


def test_tile_slide__other_settings_need_overwrite(tmp_path, make_slide, tile_config):
    path, out = make_slide(), tmp_path / "s.zarr"
    tiled(path, out, tile_config)
    other = tile_config.model_copy(update={"patch_px": 40})
    with pytest.raises(StoreError, match=r"tile.patch_px: 48, not 40.*--overwrite"):
        tiled(path, out, other)
    assert tiled(path, out, other, overwrite=True).status == "written"
    assert PatchStore.open(out).meta.patch_px == 40


def test_tile_slide__overwrite_keeps_the_old_store_until_the_new_one_is_complete(
    tmp_path, make_slide, tile_config, monkeypatch
):
    path, out = make_slide(), tmp_path / "s.zarr"
    tiled(path, out, tile_config)
    before = tree_bytes(out)
    calls = []

    def broken(slide, read, patch_px):
        calls.append(read)
        if len(calls) > 1:
            raise SlideError("damaged")
        return cut(slide, read, patch_px)

    cut = tiler.cut_patches
    monkeypatch.setattr(tiler, "cut_patches", broken)
    monkeypatch.setattr(plan_module, "patches_per_read", lambda grid, downsample: 4)
    with pytest.raises(SlideError):
        tiled(path, out, tile_config.model_copy(update={"patch_px": 40}), overwrite=True)
    assert tree_bytes(out) == before
    assert not list(tmp_path.glob("*.lock"))


def test_tile_slide__another_slide_of_the_same_name_is_refused(tmp_path, make_slide, tile_config):
    out = tmp_path / "s.zarr"
    tiled(make_slide(), out, tile_config)
    with pytest.raises(StoreError, match=r"slide\.fingerprint"):
        tiled(make_slide(seed=3), out, tile_config)


def test_tile_slide__overwrite_does_not_remove_what_is_no_store(tmp_path, make_slide, tile_config):
    out = tmp_path / "s.zarr"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="exists and is not a patch store"):
        tiled(make_slide(), out, tile_config, overwrite=True)
    assert (out / "thesis.txt").exists()
    (out / "thesis.txt").unlink()
    out.rmdir()
    tiled(make_slide(), out, tile_config)
    (out / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be opened"):
        tiled(make_slide(), out, tile_config)
    assert tiled(make_slide(), out, tile_config, overwrite=True).status == "written"


# --- kill -9 -----------------------------------------------------------------------------------------------------

SCRIPT = textwrap.dedent(
    """
    import json, os, signal, sys
    from pathlib import Path
    from wsi_lpd.config import TileConfig
    from wsi_lpd.tiling import plan
    from zarr.storage import _local
    from wsi_lpd.stores import sizes as shard
    from wsi_lpd.tiling import tiler
    from wsi_lpd.stores import patches_writer as writer

    slide_path, out, config, moment, shard_bytes = sys.argv[1:]
    shard.SHARD_BYTES = int(shard_bytes)
    plan.patches_per_read = lambda grid, downsample: 3
    name, _, count = moment.partition(":")
    state = {"left": int(count or 0)}

    def die_when_due():
        if state["left"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        state["left"] -= 1

    def before(owner, attribute, wanted=lambda *args: True):
        original = getattr(owner, attribute)
        def wrapper(*args, **kwargs):
            if wanted(*args):
                die_when_due()
            return original(*args, **kwargs)
        setattr(owner, attribute, wrapper)

    if name == "shard":
        before(writer.StoreWriter, "_write_shard")
    elif name == "read":
        before(tiler, "cut_patches")
    elif name == "layout":  # some of the metadata and small arrays are there
        before(_local, "_put")
    elif name == "replace":  # a shard is written and not renamed yet
        before(Path, "replace")
    elif name == "rename":
        before(Path, "rename")
    with plan.open_to_tile(slide_path) as slide:
        planned = plan.plan_tiling(slide, TileConfig.model_validate(json.loads(config)))
        report = tiler.tile_slide(slide, Path(out), planned, threads=2, overwrite=name == "rename" and "old" in out)
    print(report.status)
    """
)


KILL_CONFIG = TileConfig(mpp=0.5, patch_px=48, stride_px=40, tissue=TissueConfig(preset="everything"))


@pytest.fixture(scope="module")
def run_until(tmp_path_factory):
    """Runs tile in another process that kills itself at a moment; returns what it printed."""
    folder = tmp_path_factory.mktemp("kill")
    script = folder / "tile_and_die.py"
    script.write_text(SCRIPT)
    slide = write_svs(folder / "Tiny-1.svs", tissue_pixels(1500, 1100), mpp=0.25)

    def run(out, moment, *, may_fail=False):
        command = [sys.executable, script, slide, out, KILL_CONFIG.model_dump_json(), moment, str(SHARD_BYTES // 2)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if may_fail and done.returncode == 1:
            return done.stderr.splitlines()[-1]
        assert done.returncode == (0 if moment == "never" else -signal.SIGKILL), done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, run_until):
    out = tmp_path_factory.mktemp("whole") / "whole.zarr"
    assert run_until(out, "never") == "written"
    return tree_bytes(out)


@pytest.mark.parametrize(
    ("moments", "status"),
    [
        (["layout:0", "layout:1", "layout:3", "layout:5"], "written"),
        (["read:2"], "written"),
        (["shard:0", "shard:1", "replace:1"], "resumed"),
        (["shard:4"], "resumed"),
        (["rename:0"], "resumed"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else value,
)
def test_kill__the_same_command_again_gives_the_same_store(tmp_path, undisturbed, run_until, moments, status):
    out = tmp_path / "killed.zarr"
    for moment in moments:
        run_until(out, moment)
        assert not out.exists()
    assert run_until(out, "never") == status
    assert tree_bytes(out) == undisturbed
    assert [p.name for p in tmp_path.iterdir()] == ["killed.zarr"]


@pytest.mark.parametrize("moment", ["rename:0", "rename:1"])
def test_kill__while_an_old_store_is_replaced_loses_neither(tmp_path, undisturbed, run_until, moment):
    out = tmp_path / "old.zarr"
    run_until(out, "never")
    run_until(out, moment)
    assert run_until(out, "never") == "unchanged"
    assert tree_bytes(out) == undisturbed
    assert not (tmp_path / "old.zarr.old").exists()


# --- locks -------------------------------------------------------------------------------------------------------


def test_lock__of_a_living_process_is_respected(tmp_path, make_slide, tile_config):
    out = tmp_path / "s.zarr"
    with tiler.locked(out), pytest.raises(BusyError, match=rf"process {os.getpid()} on .* is writing it"):
        tiled(make_slide(), out, tile_config)
    assert tiled(make_slide(), out, tile_config).status == "written"


def test_lock__two_processes_on_one_store_do_the_work_once(tmp_path, run_until, undisturbed):
    out = tmp_path / "both.zarr"
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(run_until, out, "never", may_fail=True) for _ in range(2)]
    statuses = [end.result() for end in ends]
    assert statuses.count("written") == 1
    statuses.remove("written")
    # The other either met it at work, or came when it had finished.
    assert statuses == ["unchanged"] or "is writing it" in statuses[0]
    assert tree_bytes(out) == undisturbed


@pytest.mark.parametrize(
    "holder",
    [
        {"pid": 2**22 + 1, "host": socket.gethostname(), "started": 5},  # beyond the largest process id
        {"pid": os.getpid(), "host": socket.gethostname(), "started": -5},  # the id was given to another process
    ],
)
def test_lock__of_a_dead_process_is_taken_over(tmp_path, make_slide, tile_config, holder):
    (tmp_path / "s.zarr.lock").write_text(json.dumps(holder))
    assert tiled(make_slide(), tmp_path / "s.zarr", tile_config).status == "written"
    assert not (tmp_path / "s.zarr.lock").exists()


def test_lock__of_another_host_is_dead_when_it_is_no_longer_renewed(tmp_path, make_slide, tile_config):
    lock = tmp_path / "s.zarr.lock"
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": 1}))
    with pytest.raises(BusyError, match="process 1 on elsewhere"):
        tiled(make_slide(), tmp_path / "s.zarr", tile_config)
    os.utime(lock, (1, 1))
    assert tiled(make_slide(), tmp_path / "s.zarr", tile_config).status == "written"


def test_store_module__shard_size_is_what_the_tests_change():
    assert shard_module.patches_per_shard(224) == 334
