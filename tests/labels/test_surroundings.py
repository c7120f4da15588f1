"""Patches with what lies around them: the pixels of the slide where neighbours hold them, else the patch mirrored."""

import numpy as np
import pytest
from PIL import Image

from wsi_lpd.labels.surroundings import read_surrounded
from wsi_lpd.labels.table import LabelTable, PatchSource
from wsi_lpd.stores.patches_writer import StoreWriter

SIDE = 20


@pytest.fixture
def slide():
    return np.random.default_rng(2).integers(0, 256, (90, 140, 3), dtype=np.uint8)


@pytest.fixture
def store(tmp_path, make_meta, slide):
    """Patches every 16 px of a slide at half its scale, but for a gap at the lower right."""
    places = [
        (x, y) for y in range(0, 71, 16) for x in range(0, 121, 16) if (x, y) not in ((96, 48), (112, 48), (112, 64))
    ]
    coords = np.array(places, np.int64) * 2 + 7
    writer = StoreWriter(tmp_path / "s.zarr", meta=make_meta(), coords=coords, tissue=np.ones(len(places), np.float32))
    writer.append(np.stack([slide[y : y + SIDE, x : x + SIDE] for x, y in places]))
    writer.finish()
    return tmp_path / "s.zarr", places


def table(sources):
    return LabelTable(("a",), np.ones((len(sources), 1), np.int8), tuple(sources), ("g",) * len(sources), patch_px=SIDE)


@pytest.mark.parametrize("margin", [0, 5, 20])
def test_a_patch_amid_others__is_seen_with_the_slide_around_it(store, slide, margin):
    path, places = store
    inner = [i for i, (x, y) in enumerate(places) if 16 < x < 64 and 16 < y < 40]
    assert len(inner) == 2
    windows = read_surrounded(table([PatchSource(path, i) for i in inner]), list(range(len(inner))), margin)
    for i, window in zip(inner, windows, strict=True):
        x, y = places[i]
        np.testing.assert_array_equal(window, slide[y - margin : y + SIDE + margin, x - margin : x + SIDE + margin])


def test_where_no_neighbour_is__the_patch_is_mirrored(store, slide):
    path, places = store
    (window,) = read_surrounded(table([PatchSource(path, places.index((96, 32)))]), [0], 10)
    np.testing.assert_array_equal(window[:20, :30], slide[22:42, 86:116])
    patch = slide[32:52, 96:116]
    hole = window[30 + 6 :, 10:30]  # below it neighbours to the left reach no further
    np.testing.assert_array_equal(hole[:, 6:], patch[::-1][6:10, 6:])
    np.testing.assert_array_equal(window[10:30, 10:30], patch)


def test_around_an_image_file__it_is_mirrored(tmp_path):
    pixels = np.random.default_rng(4).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    (window,) = read_surrounded(table([PatchSource(tmp_path / "p.png")]), [0], 6)
    np.testing.assert_array_equal(window, np.pad(pixels, ((6, 6), (6, 6), (0, 0)), mode="symmetric"))
