"""Pseudo masks on disk: opened by plain zarr, found by patch, gone on with after a kill, refused if others."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr

from wsi_lpd.errors import StoreError
from wsi_lpd.labels.table import LabelTable, PatchSource
from wsi_lpd.stores import masks as mask_store
from wsi_lpd.stores import masks_writer as mask_writer
from wsi_lpd.stores.masks import MaskStore
from wsi_lpd.stores.masks_meta import MasksMeta, read_masks_meta
from wsi_lpd.stores.masks_writer import MaskWriter
from wsi_lpd.stores.patches import partial_path
from wsi_lpd.types import IGNORE

N, SIDE = 11, 12
CLASSES = ("Tumor", "Stroma", "Fat")


def meta(**changes):
    values = {
        "classes": CLASSES, "patch_px": SIDE, "weights": (0.6, 0.4), "layers": ("mask 1", "mask 2", "confidence"),
        "model": "demo", "model_sha256": "1234", "method": "mlps", "settings": {"views": 2}, "patches": "sha256:5",
        "versions": {"torch": "2"},
    }  # fmt: skip
    return MasksMeta.model_validate(values | changes)


@pytest.fixture
def masks():
    generator = np.random.default_rng(3)
    masks = generator.integers(0, len(CLASSES) + 1, (N, 3, SIDE, SIDE)).astype(np.uint8)
    masks[:, :2, :5] = IGNORE
    masks[2, 0] = IGNORE
    return masks


@pytest.fixture
def sources(tmp_path):
    in_store = [PatchSource(tmp_path / "a.zarr", 2 * i + 1) for i in range(6)]
    return (*in_store, *(PatchSource(tmp_path / "b" / f"p {i}.png") for i in range(N - 6)))


@pytest.fixture
def write(tmp_path, monkeypatch, masks, sources):
    """Writes masks of 11 patches in shards of 4, up to `end`."""
    for module in (mask_store, mask_writer):
        monkeypatch.setattr(module, "SHARD_PATCHES", 4)

    def write_masks(end=3, **changes):
        writer = MaskWriter(tmp_path / "masks", meta(**changes), sources)
        for shard in [shard for shard in writer.missing if shard < end]:
            writer.write(shard, masks[writer.patches_of(shard)])
        if not writer.missing:
            writer.write_table()
            writer.finish()
        return writer

    return write_masks


def test_masks__open_with_plain_zarr(write, masks, tmp_path):
    write()
    group = zarr.open(tmp_path / "masks")
    array = group["masks"]
    assert (array.shape, array.dtype, array.chunks) == (masks.shape, np.uint8, (1, 3, SIDE, SIDE))
    assert (array.shards[0], array.fill_value) == (4, IGNORE)
    np.testing.assert_array_equal(array[:], masks)
    assert group.attrs["classes"] == list(CLASSES)
    assert not partial_path(tmp_path / "masks").exists()


def test_masks__are_found_by_patch_wherever_the_folder_is_moved_with_them(write, masks, sources, tmp_path, monkeypatch):
    write()
    wanted = [7, 0, 10, 3, 3]
    np.testing.assert_array_equal(MaskStore.open(tmp_path / "masks").read([sources[i] for i in wanted]), masks[wanted])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "masks").rename(tmp_path / "elsewhere" / "masks")
    moved = [PatchSource(tmp_path / "elsewhere" / s.path.relative_to(tmp_path), s.index) for s in sources]
    monkeypatch.chdir(tmp_path / "elsewhere")
    store = pickle.loads(pickle.dumps(MaskStore.open(Path("masks"))))
    np.testing.assert_array_equal(store.read(moved), masks)
    np.testing.assert_array_equal(np.stack(list(store)), masks)
    with pytest.raises(StoreError, match=r"no mask of .*a\.zarr patch 2"):
        store.read([PatchSource(tmp_path / "a.zarr", 2)])


def test_the_table__tells_what_the_first_mask_of_a_patch_holds(write, masks, sources, tmp_path):
    write()
    rows = MaskStore.open(tmp_path / "masks").rows
    assert [row.source.index for row in rows] == [source.index for source in sources]
    for row, layers in zip(rows, masks, strict=True):
        assert row.judged == pytest.approx((layers[0] != IGNORE).mean(), abs=1e-4)
        for value, share in enumerate(row.shares):
            assert share == pytest.approx((layers[0] == value).mean(), abs=1e-4)
    lines = (tmp_path / "masks" / "masks.csv").read_text().splitlines()
    assert lines[0] == "patch,index,judged,background,Tumor,Stroma,Fat"
    assert lines[1].startswith("../a.zarr,1,0.5833,")
    assert lines[7].startswith("../b/p 0.png,,0.5833,")
    assert lines[3].startswith("../a.zarr,5,0.0000,0.0000,")


def test_shards_of_a_killed_run__are_kept_for_the_same_masks_alone(write, masks, tmp_path):
    write(end=2)
    partial = partial_path(tmp_path / "masks")
    shard = partial / "masks" / "c" / "1" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-7])
    writer = write(end=0)
    assert (writer.missing, writer.resumed) == ([1, 2], True)
    assert write(end=0, model_sha256="other").missing == [0, 1, 2]
    write(end=1)
    write()
    np.testing.assert_array_equal(zarr.open(tmp_path / "masks")["masks"][:], masks)


def test_old_masks__stay_until_the_new_ones_are_complete(write, masks, tmp_path):
    write()
    before = MaskStore.open(tmp_path / "masks").fingerprint
    write(end=2, model="another")
    assert MaskStore.open(tmp_path / "masks").fingerprint == before
    write(model="another")
    store = MaskStore.open(tmp_path / "masks")
    assert store.meta.model == "another"
    assert store.fingerprint != before


def table(sources, **changes):
    values = {
        "classes": CLASSES, "labels": np.ones((len(sources), 3), np.int8), "sources": tuple(sources),
        "groups": ("s",) * len(sources), "patch_px": SIDE,
    }  # fmt: skip
    return LabelTable(**(values | changes))


def test_masks_of_other_patches__are_refused(write, sources, tmp_path):
    write()
    store = MaskStore.open(tmp_path / "masks")
    store.check_fits(table(sources[3:]))
    with pytest.raises(StoreError, match=r"of the classes Tumor, Stroma, Fat, the labels of Tumor, Fat, Stroma"):
        store.check_fits(table(sources, classes=("Tumor", "Fat", "Stroma")))
    with pytest.raises(StoreError, match="12 px wide, the patches 24"):
        store.check_fits(table(sources, patch_px=24))
    with pytest.raises(StoreError, match=r"1 of 12 patches have no mask, such as .*a\.zarr patch 2"):
        store.check_fits(table([*sources, PatchSource(tmp_path / "a.zarr", 2)]))


def test_patches_outside_of_the_folder_one_is_in__are_found(write, sources, masks, tmp_path, monkeypatch):
    write()
    monkeypatch.chdir(tmp_path / "masks")
    store = MaskStore.open(Path())
    store.check_fits(table(sources))
    np.testing.assert_array_equal(store.read(sources[5:7]), masks[5:7])


def test_labels_and_places__make_the_digest(sources):
    one = table(sources).fingerprint
    assert table(sources[1:]).fingerprint != one
    assert table(sources, labels=np.zeros((N, 3), np.int8)).fingerprint != one
    assert table(sources).fingerprint == one


def damage(path, how):
    file = path / {"attributes": "zarr.json", "version": "zarr.json", "foreign": "zarr.json", "table": "masks.csv"}.get(
        how, "masks/c/0/0/0/0"
    )
    if how == "shard":
        file.write_bytes(file.read_bytes()[:-9])
    elif how == "table":
        file.write_text("patch,index,judged,background,Tumor\na.zarr,1,0.5,0.5,0\n")
    else:
        tree = json.loads(file.read_text())
        change = {"attributes": {"weights": []}, "version": {"format_version": 9}, "foreign": {"format": "other"}}[how]
        tree["attributes"] |= change
        file.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("attributes", "damaged"),
        ("version", "format version 9"),
        ("foreign", "no folder of masks"),
        ("table", r"masks\.csv: cannot be read \(2 shares in a line, expected 4\)"),
        ("shard", "damaged or missing"),
    ],
)
def test_damaged_masks__are_told(write, sources, tmp_path, how, told):
    write()
    damage(tmp_path / "masks", how)
    with pytest.raises(StoreError, match=told):
        MaskStore.open(tmp_path / "masks").read(sources)


def test_no_masks__are_told(tmp_path):
    with pytest.raises(StoreError, match="holds no masks"):
        read_masks_meta(tmp_path)


def test_layers__need_a_name_each():
    with pytest.raises(ValueError, match="2 names for 2 masks"):
        meta(layers=("mask", "confidence"))
