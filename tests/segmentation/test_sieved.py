"""The map without its small regions is made once; then it is as good as a map for any number of passes."""

import numpy as np
import pytest

from wsi_lpd.errors import OverlayError
from wsi_lpd.overlay.raster.sieve import sieved
from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.segmentation import sieved as module
from wsi_lpd.segmentation.sieved import SievedMap
from wsi_lpd.segmentation.strip_store import StripStore
from wsi_lpd.segmentation.strips import StripGrid

GRID = StripGrid(height=107, width=61, n_classes=2, strip_rows=16)
MIN_AREA_PX = 30


def specks(shape):
    """Labels of all sizes of region."""
    rng = np.random.default_rng(5)
    coarse = np.repeat(np.repeat(rng.integers(0, 3, (12, 9)), 9, axis=0), 7, axis=1)[: shape[0], : shape[1]]
    return np.where(rng.random(shape) < 0.1, rng.integers(0, 3, shape), coarse).astype(np.uint8)


LABELS = specks((GRID.height, GRID.width))
EXPECTED = np.concatenate(list(sieved([LABELS], MIN_AREA_PX)))


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(6)
    store = StripStore(tmp_path / "map.geojson.partial", GRID, {})
    for index in range(len(GRID)):
        _, probabilities, prototypes = GRID.shapes_of(index)
        rows = slice(*GRID.rows_of(index))
        shares, winners = rng.integers(0, 256, probabilities, np.uint8), rng.integers(0, 5, prototypes, np.uint8)
        store.write(index, Strip(LABELS[rows], shares, winners))
    return store


def test_the_map__is_that_of_the_whole_map_and_keeps_what_belongs_to_its_pixels(store):
    assert 0 < (EXPECTED != LABELS).sum() < LABELS.size / 4
    kept = SievedMap(store, MIN_AREA_PX)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(kept)), EXPECTED)
        for index, strip in enumerate(kept.strips()):
            np.testing.assert_array_equal(strip.labels, EXPECTED[slice(*GRID.rows_of(index))])
            np.testing.assert_array_equal(strip.probabilities, store[index].probabilities)
            np.testing.assert_array_equal(strip.prototypes, store[index].prototypes)
        assert index == len(GRID) - 1


def test_a_pass__sieves_nothing(store, monkeypatch):
    kept = SievedMap(store, MIN_AREA_PX)
    monkeypatch.setattr(module, "sieved", None)
    assert len(list(kept)) == len(list(kept.strips())) == len(GRID)


def test_what_a_killed_run_has_left__is_made_anew_and_goes_with_the_folder(store):
    list(SievedMap(store, 4))
    (store.folder / ".0123abcd.sieved.labels").write_bytes(b"half")
    again = StripStore(store.folder, GRID, {})
    assert len(again) == len(GRID)
    kept = SievedMap(again, MIN_AREA_PX)
    np.testing.assert_array_equal(np.concatenate(list(kept)), EXPECTED)
    assert len(list(store.folder.iterdir())) == len(GRID) + 2
    again.remove()
    assert not store.folder.exists()


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data[::-1]])
def test_a_damaged_file__is_named(store, damage):
    kept = SievedMap(store, MIN_AREA_PX)
    path = store.folder / "sieved.labels"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OverlayError, match=r"sieved\.labels: is damaged .* run segment again"):
        list(kept)
    path.unlink()
    with pytest.raises(OverlayError, match=r"sieved\.labels: is damaged"):
        list(kept.strips())
