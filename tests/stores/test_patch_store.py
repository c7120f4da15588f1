"""The store on disk: opened by plain zarr, read directly, refused when it does not fit."""

from __future__ import annotations

import functools
import http.server
import json
import pickle
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import GzipCodec, ZstdCodec
from zarr.storage import ZipStore

from wsi_lpd.errors import StoreError
from wsi_lpd.stores import sizes as shard_module
from wsi_lpd.stores.patches import PatchStore, partial_path
from wsi_lpd.stores.patches_writer import StoreWriter, recover


@pytest.fixture
def patches():
    return np.random.default_rng(5).integers(0, 256, (23, 20, 20, 3), dtype=np.uint8)


@pytest.fixture
def write(tmp_path, monkeypatch, make_meta, patches):
    """Writes a store of 23 patches in shards of 8."""
    monkeypatch.setattr(shard_module, "SHARD_BYTES", 8 * 20 * 20 * 3 + 5)

    def write_store(name="s.zarr", n=23, **changes):
        coords = np.stack([np.arange(n) * 3, np.arange(n) * 7 + 1], axis=1).astype(np.int64)
        tissue = np.linspace(0.5, 1, n, dtype=np.float32)
        writer = StoreWriter(tmp_path / name, meta=make_meta(**changes), coords=coords, tissue=tissue)
        for start in range(writer.n_done, n, 5):
            writer.append(patches[start : min(start + 5, n)])
        writer.finish()
        return tmp_path / name

    return write_store


def test_store__opens_with_plain_zarr(write, patches):
    group = zarr.open(write())
    array = group["patches"]
    assert (array.shape, array.dtype, array.chunks) == ((23, 20, 20, 3), np.uint8, (1, 20, 20, 3))
    assert (array.shards, array.fill_value) == ((8, 20, 20, 3), 255)
    np.testing.assert_array_equal(array[:], patches)
    assert (group["coords"].dtype, group["tissue"].dtype) == (np.int64, np.float32)
    assert group["coords"][4].tolist() == [12, 29]
    attributes = dict(group.attrs)
    assert (attributes["format_version"], attributes["mpp"], attributes["mpp_source"]) == (1, 0.5, "user")
    assert attributes["slide"]["size_px"] == [900, 700]
    assert attributes["config"]["tissue"]["preset"] == "pale"
    assert "upper left" in attributes["frame"]


def test_store__is_plain_zarr_with_a_checksum_in_every_chunk(write, patches):
    group = zarr.open_group(write(), mode="r")
    assert set(group) == {"patches", "coords", "tissue"}
    np.testing.assert_array_equal(group["patches"][...], patches)
    assert group["patches"].chunks == (1, 20, 20, 3)
    assert group["patches"].shards == (8, 20, 20, 3)
    for name in group:
        assert any(type(codec).__name__ == "Crc32cCodec" for codec in group[name].compressors), name


REWRITTEN = {
    "gzip": {"chunks": (1, 20, 20, 3), "compressors": GzipCodec(level=3)},
    "no compression": {"chunks": (1, 20, 20, 3), "compressors": None},
    "other chunks": {"chunks": (5, 20, 20, 3)},
    "parts of patches": {"chunks": (3, 10, 20, 3), "compressors": GzipCodec()},
    "other shards": {"chunks": (1, 20, 20, 3), "shards": (6, 20, 20, 3)},
    "shards of chunks of several": {"chunks": (2, 20, 20, 3), "shards": (6, 20, 20, 3), "compressors": GzipCodec()},
    "version 2": {"chunks": (4, 20, 20, 3), "zarr_format": 2},
}


def rewritten(source, target, *, chunks, zarr_format=3, store=None, **options):
    """The store as anyone may write it again with zarr."""
    old = zarr.open_group(source, mode="r")
    new = zarr.create_group(target if store is None else store, zarr_format=zarr_format, attributes=dict(old.attrs))
    array = new.create_array("patches", shape=old["patches"].shape, dtype="uint8", chunks=chunks, **options)
    array[...] = old["patches"][...]
    for name in ("coords", "tissue"):
        new.create_array(name, data=old[name][...])
    return target


def same(path, patches, original):
    opened = PatchStore.open(path)
    indices = [22, 0, 9, 9, 7, 8, 16, 1]
    np.testing.assert_array_equal(opened.read(indices), patches[indices])
    np.testing.assert_array_equal(opened.coords, original.coords)
    np.testing.assert_array_equal(opened.tissue, original.tissue)
    assert opened.meta == original.meta


@pytest.mark.parametrize("how", REWRITTEN)
def test_a_store_that_zarr_has_rewritten__is_read(write, tmp_path, patches, how):
    path = write()
    again = rewritten(path, tmp_path / "again.zarr", **REWRITTEN[how])
    same(again, patches, PatchStore.open(path))


def test_a_store_in_a_zip_file_or_consolidated__is_read(write, tmp_path, patches):
    path = write()
    with ZipStore(tmp_path / "z.zarr.zip", mode="w") as store:
        rewritten(path, None, store=store, **REWRITTEN["gzip"])
    same(tmp_path / "z.zarr.zip", patches, PatchStore.open(path))
    zarr.consolidate_metadata(path)
    same(path, patches, PatchStore.open(path))


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves files, and parts of them as web servers of slides and stores do."""

    def do_GET(self):
        file = Path(self.translate_path(self.path))
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        start, end = 0, len(data)
        if asked:
            first, last = asked.groups()
            start = int(first) if first else len(data) - int(last)
            end = int(last) + 1 if first and last else len(data)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data[start:end])))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{min(end, len(data)) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:end])

    def log_message(self, *args):
        pass


def test_a_store_at_a_url__is_read(write, patches):
    path = write()
    handler = functools.partial(Ranges, directory=str(path.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        same(Path(url), patches, PatchStore.open(path))
        same(url, patches, PatchStore.open(path))
        server.shutdown()


def test_a_store_of_before__without_checksums_in_its_chunks_is_read(write, tmp_path, patches):
    path = write()
    options = {"chunks": (1, 20, 20, 3), "shards": (8, 20, 20, 3), "compressors": ZstdCodec(level=1)}
    again = rewritten(path, tmp_path / "before.zarr", **options)
    same(again, patches, PatchStore.open(path))


@pytest.mark.parametrize("name", ["patches/c/0/0/0/0", "patches/c/2/0/0/0", "coords/c/0/0", "tissue/c/0"])
def test_a_flipped_bit__is_never_read_as_a_patch(write, patches, name):
    path = write()
    good = (path / name).read_bytes()
    original = PatchStore.open(path)
    wanted = original.read(range(23)), original.coords.copy(), original.tissue.copy()
    rng = np.random.default_rng(4)
    n_refused = 0
    for place in rng.integers(0, len(good), 40):
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        (path / name).write_bytes(bad)
        opened = PatchStore.open(path)
        try:
            found = opened.read(range(23)), opened.coords, opened.tissue
        except StoreError:
            n_refused += 1
        else:
            assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True)), "other values, silently"
    assert n_refused >= 38
    (path / name).write_bytes(good)


def test_read__equals_zarr_in_any_order(write, patches):
    path = write()
    indices = [22, 0, 9, 9, 7, 8, 16, 1]
    np.testing.assert_array_equal(PatchStore.open(path).read(indices), zarr.open(path)["patches"][:][indices])
    np.testing.assert_array_equal(PatchStore.open(path).read(indices), patches[indices])
    assert PatchStore.open(path).read([]).shape == (0, 20, 20, 3)


def test_store__survives_pickling(write, patches):
    opened = pickle.loads(pickle.dumps(PatchStore.open(write())))
    np.testing.assert_array_equal(opened.read([3]), patches[[3]])
    assert len(opened) == 23
    assert opened.tissue[0] == np.float32(0.5)


def test_read__refuses_an_index_outside(write):
    opened = PatchStore.open(write())
    with pytest.raises(StoreError, match="holds 0 to 22"):
        opened.read([23])
    with pytest.raises(StoreError, match="-1"):
        opened.read([-1])


@pytest.mark.parametrize("damage", ["gone", "short", "flipped"])
def test_read__names_the_damaged_shard(write, damage):
    path = write()
    shard = path / "patches/c/1/0/0/0"
    data = bytearray(shard.read_bytes())
    if damage == "gone":
        shard.unlink()
    elif damage == "short":
        shard.write_bytes(data[:40])
    else:
        data[: len(data) // 2] = bytes(len(data) // 2)
        shard.write_bytes(data)
    with pytest.raises(StoreError, match=r"patches/c/1/0/0/0: damaged or missing.*--overwrite"):
        PatchStore.open(path).read([8, 9])


@pytest.mark.parametrize("damage", ["gone", "short", "another codec", "no JSON"])
def test_coords__damaged_are_told(write, damage):
    path = write()
    chunk, metadata = path / "coords/c/0/0", path / "coords/zarr.json"
    if damage == "gone":
        chunk.unlink()
    elif damage == "short":
        chunk.write_bytes(chunk.read_bytes()[:-4])
    elif damage == "another codec":
        metadata.write_text(metadata.read_text().replace("zstd", "gzip"))
    else:
        metadata.write_text("{")
    with pytest.raises(StoreError, match=r"coords.*(cannot be read|cannot be opened)"):
        _ = PatchStore.open(path).coords


def test_open__tells_what_is_wrong(tmp_path, write):
    with pytest.raises(StoreError, match="is not a patch store"):
        PatchStore.open(tmp_path / "nothing.zarr")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="is not a patch store of wsi-lpd"):
        PatchStore.open(tmp_path / "other.zarr")
    path = write()
    tree = json.loads((path / "zarr.json").read_text())
    for key, value, message in (("format_version", 2, "format version 2"), ("patch_px", "x", "damaged .patch_px.")):
        changed = {**tree, "attributes": {**tree["attributes"], key: value}}
        (path / "zarr.json").write_text(json.dumps(changed))
        with pytest.raises(StoreError, match=message):
            PatchStore.open(path)


@pytest.mark.parametrize("change", [{"dtype": "uint16"}, {"shape": (23, 20, 20)}, {"shape": (23, 18, 20, 3)}])
def test_open__refuses_what_is_no_patches(write, tmp_path, change):
    path = write()
    old = zarr.open_group(path, mode="r")
    new = zarr.create_group(tmp_path / "x.zarr", attributes=dict(old.attrs))
    new.create_array("patches", **{"shape": (23, 20, 20, 3), "dtype": "uint8", **change})
    with pytest.raises(StoreError, match=r"expected uint8 \(N, 20, 20, 3\)"):
        PatchStore.open(tmp_path / "x.zarr")


def test_store__empty_is_valid(write):
    path = write(n=0)
    assert len(PatchStore.open(path)) == 0
    assert zarr.open(path)["patches"].shape == (0, 20, 20, 3)
    assert PatchStore.open(path).coords.shape == (0, 2)


def test_writer__white_shards_are_files_too(tmp_path, write, patches):
    patches[:] = 255
    path = write()
    assert (path / "patches/c/2/0/0/0").is_file()
    assert (PatchStore.open(path).read([0, 22]) == 255).all()


def test_writer__goes_on_after_the_last_whole_shard(tmp_path, write, make_meta, patches):
    whole = write()
    coords, tissue = PatchStore.open(whole).coords, PatchStore.open(whole).tissue
    path = tmp_path / "t.zarr"
    first = StoreWriter(path, meta=make_meta(), coords=coords, tissue=tissue)
    first.append(patches[:19])
    rubbish = partial_path(path) / "patches/c/2/0/0/.0123.0"
    rubbish.parent.mkdir(parents=True)
    rubbish.write_bytes(b"half")
    second = StoreWriter(path, meta=make_meta(), coords=coords, tissue=tissue)
    assert (second.n_done, second.fresh) == (16, None)
    second.append(patches[16:])
    second.finish()
    assert tree_bytes(path) == tree_bytes(whole)


def test_writer__does_again_what_is_cut_short(tmp_path, write, make_meta, patches):
    whole = write()
    coords, tissue = PatchStore.open(whole).coords, PatchStore.open(whole).tissue
    path = tmp_path / "t.zarr"
    StoreWriter(path, meta=make_meta(), coords=coords, tissue=tissue).append(patches[:16])
    shard = partial_path(path) / "patches/c/1/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert StoreWriter(path, meta=make_meta(), coords=coords, tissue=tissue).n_done == 8


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mpp": 0.25}, "mpp: 0.5, not 0.25"),
        ({"config": {"min_tissue": 0.7}}, "tile.min_tissue: 0.5, not 0.7"),
        ({"versions": {"wsi-lpd": "1"}}, "other versions"),
    ],
)
def test_writer__begins_anew_where_settings_differ(tmp_path, write, make_meta, patches, changes, reason):
    coords = np.zeros((23, 2), np.int64)
    tissue = np.ones(23, np.float32)
    path = tmp_path / "t.zarr"
    write()
    StoreWriter(path, meta=make_meta(), coords=coords, tissue=tissue).append(patches[:16])
    again = StoreWriter(path, meta=make_meta(**changes), coords=coords, tissue=tissue)
    assert again.n_done == 0
    assert reason in again.fresh


def test_writer__begins_anew_where_patches_differ(tmp_path, write, make_meta, patches):
    coords, tissue = np.zeros((23, 2), np.int64), np.ones(23, np.float32)
    write()
    StoreWriter(tmp_path / "t.zarr", meta=make_meta(), coords=coords, tissue=tissue).append(patches[:16])
    assert StoreWriter(tmp_path / "t.zarr", meta=make_meta(), coords=coords + 1, tissue=tissue).fresh is not None


def test_finish__refuses_an_incomplete_store(tmp_path, write, make_meta, patches):
    coords, tissue = np.zeros((23, 2), np.int64), np.ones(23, np.float32)
    writer = StoreWriter(tmp_path / "t.zarr", meta=make_meta(), coords=coords, tissue=tissue)
    writer.append(patches[:20])
    with pytest.raises(StoreError, match="not complete"):
        writer.finish()
    assert not (tmp_path / "t.zarr").exists()


def test_recover__puts_the_old_store_back_after_a_kill_between_the_renames(tmp_path, write):
    path = write()
    before = tree_bytes(path)
    path.rename(tmp_path / "s.zarr.old")
    recover(path)
    assert tree_bytes(path) == before
    assert not (tmp_path / "s.zarr.old").exists()


def test_meta__label_settings_and_versions_leave_the_patches_alone(make_meta):
    base = make_meta()
    config = {**base.config, "label_fraction": 0.2}
    assert base.same_patches(make_meta(config=config, versions={"wsi-lpd": "9"}))
    moved = {**base.config, "tissue": {"preset": "pale", "mask": "elsewhere.png"}}
    assert base.same_patches(make_meta(config=moved))
    assert not base.same_patches(make_meta(tissue_mask="sha256:2"))
    assert base.differences(make_meta(stride_px=10)) == ["stride_px: 20, not 10"]


def tree_bytes(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
