"""Order of patches: a pure function of seed and epoch, and what a resumed run still has to see."""

import multiprocessing

import numpy as np
import pytest
import torch

from wsi_lpd.labels.sources import read_labels
from wsi_lpd.stores.patches_meta import SlideIdentity, StoreMeta
from wsi_lpd.stores.patches_writer import StoreWriter
from wsi_lpd.training.data import batches as data
from wsi_lpd.training.data.batches import epoch_batches, ordered_batches, training_batches
from wsi_lpd.types import Size


def test_an_epoch__shows_every_patch_at_most_once_and_differs_from_the_next():
    first, second = (epoch_batches(23, 4, seed=1, epoch=e) for e in (0, 1))
    flat = [i for batch in first for i in batch]
    assert len(flat) == len(set(flat)) == 20
    assert first != second
    assert first == epoch_batches(23, 4, seed=1, epoch=0)
    assert first != epoch_batches(23, 4, seed=2, epoch=0)


def test_fewer_patches_than_a_batch__make_one_batch():
    assert sorted(epoch_batches(3, 8, seed=0, epoch=0)[0]) == [0, 1, 2]


@pytest.mark.parametrize("first", [0, 1, 5, 6, 9])
def test_a_resumed_run__sees_what_was_left(table, first):
    def batches(a):
        return list(training_batches(table, batch_size=4, seed=3, workers=0, first=a, last=12))

    rest, everything = batches(first), batches(0)
    assert len(rest) == 12 - first
    for got, expected in zip(rest, everything[first:], strict=True):
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])


def test_worker_processes__give_the_same_batches(table):
    a, b = (list(ordered_batches(table, batch_size=5, workers=w)) for w in (0, 2))
    assert [len(batch.patches) for batch in a] == [5, 5, 5, 5, 2]
    assert all(torch.equal(x[0], y[0]) and torch.equal(x[1], y[1]) for x, y in zip(a, b, strict=True))


@pytest.fixture
def store_table(tmp_path):
    """Patches of two stores, in a mixed order."""
    rows = ["store,index,slide,x,y,tissue,dots,stripes"]
    for name, n, seed in (("a", 7, 1), ("b", 5, 2)):
        meta = StoreMeta(
            slide=SlideIdentity(
                name=name, fingerprint="sha256:1", size_px=Size(900, 700), vendor=None, bounds=None, mpp=0.25
            ),
            mpp=0.5,
            mpp_source="user",
            patch_px=20,
            patch_level0_px=40,
            stride_px=20,
            level=0,
            config={},
            tissue_mask=None,
            versions={},
        )
        coords = np.stack([np.arange(n) * 40, np.arange(n) * 80], axis=1).astype(np.int64)
        writer = StoreWriter(tmp_path / f"{name}.zarr", meta=meta, coords=coords, tissue=np.ones(n, np.float32))
        writer.append(np.random.default_rng(seed).integers(0, 256, (n, 20, 20, 3), dtype=np.uint8))
        writer.finish()
        rows += [f"{name}.zarr,{i},{name},{40 * i},{80 * i},1,{i % 2},{(i + seed) % 3 % 2}" for i in range(n)]
    path = tmp_path / "patches.csv"
    path.write_text("\n".join([rows[0], *rows[:0:-2], *rows[-2:0:-2]]))
    return read_labels([path])


@pytest.mark.parametrize("start", ["auto", "fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["stores", "images"])
def test_worker_processes__read_the_same_however_they_are_started(kind, start, table, store_table):
    if start not in ("auto", *multiprocessing.get_all_start_methods()):
        pytest.skip(f"{start} is not for this system")
    chosen = store_table if kind == "stores" else table.subset(range(12))
    here = list(ordered_batches(chosen, batch_size=5, workers=0))  # opens the stores in this process, before the fork
    there = list(ordered_batches(chosen, batch_size=5, workers=1, worker_start=start))
    assert [len(batch.patches) for batch in there] == [5, 5, 2]
    for batch, expected in zip(there, here, strict=True):
        assert torch.equal(batch.patches, expected.patches)
        assert torch.equal(batch.labels, expected.labels)
        assert batch.masks is None


def test_the_way_workers_start__is_the_one_asked_for(table, monkeypatch):
    asked = []
    real = data.DataLoader

    def remember(*args, **options):
        asked.append(options["multiprocessing_context"])
        return real(*args, **{**options, "num_workers": 0, "multiprocessing_context": None})

    monkeypatch.setattr(data, "DataLoader", remember)
    for workers, start in ((2, "spawn"), (2, "auto"), (0, "spawn")):
        next(training_batches(table, batch_size=4, seed=0, workers=workers, worker_start=start, first=0, last=3))
    assert asked == ["spawn", None, None]


def test_batches__carry_the_rows_labels(table):
    labels = torch.cat([batch.labels for batch in ordered_batches(table, batch_size=7, workers=0)])
    np.testing.assert_array_equal(labels.numpy(), table.labels)
