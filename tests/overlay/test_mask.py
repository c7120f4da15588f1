from __future__ import annotations

import numpy as np
import pytest
import tifffile
from label_maps import FIXED, noise

from wsi_lpd.classes import QUPATH_CLASSES, TissueClass
from wsi_lpd.errors import OverlayError
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.mask import read_mask, write_mask

FRAME = GridFrame(8.03125, 7.5, offset_x=1200, offset_y=-3)
CLASSES = (*QUPATH_CLASSES[:3], TissueClass('Fett "ä" <&>', (1, 2, 3)))


def test_write_mask__everything_comes_back(tmp_path):
    path = tmp_path / "m.ome.tif"
    label_map = noise(300, 211, sigma=4, seed=1)
    label_map[5:9] = 255
    write_mask(path, [label_map], CLASSES, mpp=2.0078, frame=FRAME, metadata={"model": "abc", "mpp source": "user"})
    mask = read_mask(path)
    np.testing.assert_array_equal(mask.label_map, label_map)
    assert mask.classes == CLASSES
    assert mask.mpp == 2.0078
    assert mask.frame == FRAME
    assert mask.metadata == {"model": "abc", "mpp source": "user"}


@pytest.mark.parametrize("name", ["row", "column", "one pixel", "ignored only", "background only"])
def test_write_mask__small_maps(name, tmp_path):
    write_mask(tmp_path / "m.tiff", [FIXED[name]], QUPATH_CLASSES, mpp=None, frame=FRAME)
    mask = read_mask(tmp_path / "m.tiff")
    np.testing.assert_array_equal(mask.label_map, FIXED[name])
    assert mask.mpp is None


def test_write_mask__is_a_tiled_deflated_pyramid_of_unblended_labels(tmp_path):
    path = tmp_path / "m.ome.tif"
    label_map = noise(1301, 2050, sigma=6, seed=2)
    write_mask(path, [label_map], QUPATH_CLASSES, mpp=2.0, frame=FRAME)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        levels = tiff.series[0].levels
        assert [level.shape for level in levels] == [(1301, 2050), (651, 1025), (326, 513), (163, 257)]
        for k, level in enumerate(levels):
            assert level.pages[0].is_tiled
            assert (level.pages[0].tilewidth, level.pages[0].tilelength) == (512, 512)
            assert level.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            np.testing.assert_array_equal(level.asarray(), label_map[:: 2**k, :: 2**k])
        page = tiff.pages.first
        assert page.get_resolution("MICROMETER") == pytest.approx((0.5, 0.5))
        assert 'PhysicalSizeX="2.0"' in tiff.ome_metadata


def test_write_mask__the_same_mask_gives_the_same_bytes(tmp_path):
    for name in ("a.ome.tif", "b.ome.tif"):
        write_mask(tmp_path / name, [FIXED["blobs"]], QUPATH_CLASSES, mpp=2.0, frame=FRAME)
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()


def test_write_mask__refuses_another_format(tmp_path):
    with pytest.raises(OverlayError, match=r"name it m\.ome\.tif"):
        write_mask(tmp_path / "m.png", [FIXED["blobs"]], QUPATH_CLASSES, mpp=2.0, frame=FRAME)


def test_read_mask__a_plain_tiff_has_pixels_and_nothing_else(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", FIXED["blobs"])
    mask = read_mask(tmp_path / "m.tif")
    np.testing.assert_array_equal(mask.label_map, FIXED["blobs"])
    assert (mask.classes, mask.mpp, mask.frame, mask.metadata) == (None, None, None, {})


@pytest.mark.parametrize("pixels", [np.zeros((5, 4, 3), np.uint8), np.zeros((5, 4), np.uint16)])
def test_read_mask__refuses_what_are_no_labels(pixels, tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", pixels)
    with pytest.raises(OverlayError, match=r"m\.tif: has uint.*expected uint8"):
        read_mask(tmp_path / "m.tif")


def test_read_mask__damaged_files_are_named(tmp_path):
    path = tmp_path / "m.ome.tif"
    write_mask(path, [noise(600, 700, sigma=2, seed=3)], QUPATH_CLASSES, mpp=2.0, frame=FRAME)
    data = path.read_bytes()
    for length in (0, 3, 9, 200, len(data) // 3, len(data) // 2):
        path.write_bytes(data[:length])
        with pytest.raises(OverlayError, match=r"m\.ome\.tif"):
            read_mask(path)
    with pytest.raises(OverlayError, match="cannot be read"):
        read_mask(tmp_path / "none.tif")
