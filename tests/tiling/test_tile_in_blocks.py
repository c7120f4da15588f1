"""A store whose blocks of shards several processes write: the bytes of one process, and nothing of another store."""

from __future__ import annotations

import numpy as np
import pytest

from wsi_lpd.errors import StoreError
from wsi_lpd.stores import patches_writer as writer_module
from wsi_lpd.stores import sizes as shard_module
from wsi_lpd.stores.patches_writer import StoreWriter, put_in_place
from wsi_lpd.tiling.slide_task import SlideTask


@pytest.fixture
def path(make_slide, monkeypatch):
    """A slide of 18 x 13 patches in 16 shards, the last with nine of 15."""
    monkeypatch.setattr(shard_module, "SHARD_BYTES", 15 * 48 * 48 * 3)
    return make_slide()


@pytest.fixture
def task(tmp_path, tile_config):
    return SlideTask(tmp_path / "out", tile_config, threads=2)


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def shards_in(folder):
    return sorted(int(p.parts[-4]) for p in folder.glob("patches/c/*/0/0/0"))


def test_blocks_in_any_order__give_the_store_of_one_run(tmp_path, path, task, tile_config):
    whole = SlideTask(tmp_path / "whole", tile_config).run(path)
    work_left = task.begin(path)
    assert (list(work_left.missing), work_left.resumed) == (list(range(16)), False)
    blocks = work_left.blocks(3)
    assert [len(block) for block in blocks] == [6, 5, 5]
    for block in reversed(blocks):
        task.make_block(path, block)
    tiled = task.finish(path, work_left)
    assert files_of(task.out) == files_of(tmp_path / "whole")
    assert (tiled.report.status, tiled.report.n_patches) == ("written", 234)
    np.testing.assert_array_equal(tiled.boxes, whole.boxes)
    assert task.finish(path, work_left).report.status == "written"  # a worker died before it could tell
    assert task.begin(path).was_finished
    assert task.finish(path, task.begin(path)).report.status == "unchanged"


def test_shards_behind_a_gap__are_kept_and_the_rest_is_the_same(tmp_path, path, task, tile_config, monkeypatch):
    SlideTask(tmp_path / "whole", tile_config).run(path)
    task.begin(path)
    task.make_block(path, range(4, 7))
    task.make_block(path, range(15, 16))
    partial = task.out / "Tiny-1.zarr.partial"
    assert shards_in(partial) == [4, 5, 6, 15]
    work_left = task.begin(path)
    assert (list(work_left.missing), work_left.resumed) == ([*range(4), *range(7, 15)], True)
    written = []
    original = StoreWriter._write_shard
    monkeypatch.setattr(StoreWriter, "_write_shard", lambda writer: written.append(writer._next) or original(writer))
    assert task.run(path).report.status == "resumed"
    assert written == [*range(4), *range(7, 15)]
    assert files_of(task.out) == files_of(tmp_path / "whole")


def test_a_block__writes_what_is_missing_of_it_and_leaves_alone_what_others_write(path, task):
    task.begin(path)
    partial = task.out / "Tiny-1.zarr.partial"
    task.make_block(path, range(3, 5))
    stamps = {i: (partial / f"patches/c/{i}/0/0/0").stat().st_mtime_ns for i in (3, 4)}
    others = partial / ".0123abcd.9"
    others.write_bytes(b"half")
    task.make_block(path, range(2, 6))
    assert shards_in(partial) == [2, 3, 4, 5]
    assert {i: (partial / f"patches/c/{i}/0/0/0").stat().st_mtime_ns for i in (3, 4)} == stamps
    assert others.exists()
    task.run(path)
    assert not list((task.out / "Tiny-1.zarr").glob(".*"))


def test_a_block__is_refused_where_another_store_has_been_started(tmp_path, path, task, tile_config):
    with pytest.raises(StoreError, match=r"Tiny-1\.zarr\.partial: is not the store that is to be written"):
        task.make_block(path, range(3))
    assert not (tmp_path / "out").exists()
    SlideTask(task.out, tile_config.model_copy(update={"patch_px": 40})).begin(path)
    with pytest.raises(StoreError, match=r"\(tile\.patch_px: 40, not 48"):
        task.make_block(path, range(3))
    assert shards_in(task.out / "Tiny-1.zarr.partial") == []


def test_a_shard_of_a_task_that_nobody_waits_for__gets_into_no_other_store(path, task, tile_config, monkeypatch):
    task.begin(path)
    other = SlideTask(task.out, tile_config.model_copy(update={"patch_px": 40}))
    write = StoreWriter._write_shard
    partial = task.out / "Tiny-1.zarr.partial"

    def with_another_begun_before(writer):
        if writer.n_patches == 234:
            other.begin(path)
        write(writer)

    with monkeypatch.context() as context:
        context.setattr(StoreWriter, "_write_shard", with_another_begun_before)
        with pytest.raises(StoreError, match="another run has started it over"):
            task.make_block(path, range(3))
    assert shards_in(partial) == []
    assert not list(partial.glob(".*"))

    def with_the_store_put_in_place_before(writer):
        partial.rename(task.out / "Tiny-1.zarr")
        write(writer)

    task.begin(path)
    monkeypatch.setattr(StoreWriter, "_write_shard", with_the_store_put_in_place_before)
    with pytest.raises(FileNotFoundError):
        task.make_block(path, range(3))
    assert not partial.exists()


def test_what_such_a_task_was_writing_at_the_end__does_not_stay_in_the_store(path, task, monkeypatch):
    def with_half_a_shard(partial, place):
        (partial / ".0123abcd.0").write_bytes(b"half")
        put_in_place(partial, place)

    monkeypatch.setattr(writer_module, "put_in_place", with_half_a_shard)
    task.run(path)
    assert not list((task.out / "Tiny-1.zarr").glob(".*"))


def test_overwrite_in_blocks__keeps_the_old_store_to_the_end(tmp_path, path, task, tile_config):
    task.run(path)
    before = files_of(task.out / "Tiny-1.zarr")
    other = SlideTask(task.out, tile_config.model_copy(update={"min_tissue": 0.2}), overwrite=True)
    work_left = other.begin(path)
    for block in work_left.blocks(2):
        other.make_block(path, block)
    assert files_of(task.out / "Tiny-1.zarr") == before
    assert other.finish(path, work_left).report.status == "written"
    SlideTask(tmp_path / "whole", other.config).run(path)
    assert files_of(task.out) == files_of(tmp_path / "whole")
