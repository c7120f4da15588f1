"""Stores that zarr has rewritten train and are evaluated as they were: gzip, other chunks, a zip file, version 2."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from dots_and_stripes import texture
from small_run import SMALL
from typer.testing import CliRunner
from zarr.codecs import GzipCodec
from zarr.storage import ZipStore

from wsi_lpd.labels.sources import read_labels, read_patches
from wsi_lpd.stores.patches_writer import StoreWriter
from wsi_lpd_cli.main import app

N, SIDE = 14, 48
LABELS = [[(1, 0), (0, 1), (1, 1)][i % 3] for i in range(N)]
FORMS = {
    "as written": None,
    "gzip": {"chunks": (1, SIDE, SIDE, 3), "compressors": GzipCodec(level=2)},
    "other chunks": {"chunks": (5, SIDE // 2, SIDE, 3)},
    "version 2": {"chunks": (4, SIDE, SIDE, 3), "zarr_format": 2},
    "zip": {"chunks": (2, SIDE, SIDE, 3), "compressors": GzipCodec()},
}


@pytest.fixture
def table_over(tmp_path, make_meta):
    """A label file over a store in one of the forms."""

    def make(form):
        rng = np.random.default_rng(2)
        pixels = np.stack([texture(rng, label, SIDE) for label in LABELS])
        writer = StoreWriter(
            tmp_path / "s.zarr",
            meta=make_meta(patch_px=SIDE),
            coords=np.arange(2 * N).reshape(N, 2),
            tissue=np.ones(N, np.float32),
        )
        writer.append(pixels)
        writer.finish()
        name = "s.zarr"
        if FORMS[form] is not None:
            name = "again.zarr.zip" if form == "zip" else "again.zarr"
            options = dict(FORMS[form])
            store = ZipStore(tmp_path / name, mode="w") if form == "zip" else tmp_path / name
            old = zarr.open_group(tmp_path / "s.zarr", mode="r")
            version = options.pop("zarr_format", 3)
            new = zarr.create_group(store, attributes=dict(old.attrs), zarr_format=version)
            new.create_array("patches", shape=pixels.shape, dtype="uint8", **options)[...] = pixels
            for array in ("coords", "tissue"):
                new.create_array(array, data=old[array][...])
            if form == "zip":
                store.close()
        rows = [f"{name},{i},s,{2 * i},{2 * i + 1},1,{a},{b}" for i, (a, b) in enumerate(LABELS)]
        path = tmp_path / "patches.csv"
        path.write_text("\n".join(["store,index,slide,x,y,tissue,dots,stripes", *rows]) + "\n")
        return path, pixels

    return make


@pytest.mark.parametrize("form", FORMS)
def test_a_label_table__reads_the_same_patches(table_over, form):
    path, pixels = table_over(form)
    table = read_labels([path])
    wanted = [13, 0, 5, 5, 7]
    np.testing.assert_array_equal(read_patches(table, wanted), pixels[wanted])


@pytest.mark.parametrize("form", ["gzip", "other chunks", "zip"])
def test_training__takes_it_with_worker_processes(table_over, tmp_path, form):
    path, _ = table_over(form)
    settings = [part for s in (*SMALL, "train.workers=2", "train.epochs=1") for part in ("--set", s)]
    result = CliRunner().invoke(app, ["train", "--labels", str(path), "--out", str(tmp_path / "run"), *settings])
    assert result.exit_code == 0, result.output
