"""Patches without labels: from stores, tables and images, each once."""

import csv
import logging
from pathlib import Path

import numpy as np
import pytest
from dots_and_stripes import write_patches

from wsi_lpd.errors import LabelError, StoreError
from wsi_lpd.labels.sources import read_labels, read_patches
from wsi_lpd.labels.unlabelled import read_unlabelled
from wsi_lpd.stores.patches_writer import StoreWriter


@pytest.fixture
def write(tmp_path, make_meta):
    def write_store(name, n, **changes):
        side = changes.get("patch_px", 20)
        pixels = np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
        coords = np.stack([np.arange(n) * 3, np.arange(n) * 7 + 1], axis=1).astype(np.int64)
        meta = make_meta(patch_px=side, **{k: v for k, v in changes.items() if k != "patch_px"})
        writer = StoreWriter(tmp_path / name, meta=meta, coords=coords, tissue=np.ones(n, np.float32))
        writer.append(pixels)
        writer.finish()
        return pixels

    return write_store


def write_csv(path, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def test_stores__are_read_alone_and_by_their_folder(write, tmp_path):
    b, a = write("b.zarr", 5), write("a.zarr", 7)
    whole, one = read_unlabelled([tmp_path]), read_unlabelled([tmp_path / "b.zarr"])
    np.testing.assert_array_equal(read_patches(whole, range(12)), np.concatenate([a, b]))
    np.testing.assert_array_equal(read_patches(one, [4, 0]), b[[4, 0]])
    assert (whole.mpp, whole.patch_px, whole.classes) == (0.5, 20, ())


def test_a_table__is_read_with_and_without_labels(write, tmp_path):
    pixels = write("a.zarr", 7)
    header = ["store", "index", "slide", "x", "y", "tissue", "Tumor"]
    rows = [["a.zarr", i, "s", i * 3, i * 7 + 1, 1, label] for i, label in ((2, "1"), (6, ""), (3, "0"), (0, "?"))]
    table = read_unlabelled([write_csv(tmp_path / "patches.csv", [header, *rows])])
    np.testing.assert_array_equal(read_patches(table, range(4)), pixels[[2, 6, 3, 0]])
    bare = read_unlabelled([write_csv(tmp_path / "bare.csv", [row[:6] for row in [header, *rows]])])
    assert bare.sources == table.sources


def test_a_patch_that_is_named_twice__counts_once(write, tmp_path, monkeypatch):
    write("a.zarr", 7)
    table = write_csv(tmp_path / "patches.csv", [["store", "index"], ["a.zarr", 3], ["a.zarr", 1]])
    monkeypatch.chdir(tmp_path)
    found = read_unlabelled([table, Path("a.zarr"), tmp_path])
    assert [source.index for source in found.sources] == [3, 1, 0, 2, 4, 5, 6]


def test_images__are_read_by_table_and_by_folder(tmp_path):
    labels = write_patches(tmp_path, ("dots", "stripes"), [(1, ""), ("", ""), (0, 1)], side=33)
    table, folder = read_unlabelled([labels]), read_unlabelled([tmp_path])
    assert len(read_labels([labels])) == 2
    np.testing.assert_array_equal(read_patches(table, range(3)), read_patches(folder, range(3)))
    assert table.patch_px == 33
    assert set(table.groups) == {"slide-0", "slide-1", "slide-2"}


def test_patches_of_two_kinds__are_refused(write, tmp_path):
    write("a.zarr", 4)
    write("b.zarr", 4, patch_px=24)
    with pytest.raises(LabelError, match=r"differ in patch_px: 20 \(.*a\.zarr\), 24 \(.*b\.zarr\)"):
        read_unlabelled([tmp_path])


def test_what_holds_no_patches__is_reported(write, tmp_path, make_meta):
    for given, message in (
        ([], "no patches were given; pass patch stores"),
        ([tmp_path], "has no patches; expected patch stores"),
        ([tmp_path / "no.zarr"], "no such store, file or folder"),
        ([write_csv(tmp_path / "t.csv", [["name"], ["x"]])], "expected store and index"),
        ([write_csv(tmp_path / "u.csv", [["image"]])], "has no rows"),
        ([write_csv(tmp_path / "v.csv", [["image"], ["gone.png"]])], "v.csv:2: .*no such image"),
    ):
        with pytest.raises(LabelError, match=message):
            read_unlabelled(given)
    write("empty.zarr", 0)
    with pytest.raises(LabelError, match=r"empty\.zarr: no patches found"):
        read_unlabelled([tmp_path / "empty.zarr"])
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(StoreError, match=r"other\.zarr: is not a patch store"):
        read_unlabelled([tmp_path / "other.zarr"])


def test_a_store_in_the_making__is_not_read(write, tmp_path, caplog):
    write("a.zarr", 4)
    (tmp_path / "a.zarr").rename(tmp_path / "a.zarr.partial")
    write("b.zarr", 3)
    with caplog.at_level(logging.WARNING):
        assert len(read_unlabelled([tmp_path])) == 3
