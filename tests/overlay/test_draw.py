from __future__ import annotations

import numpy as np
import pytest
from label_maps import noise
from PIL import Image

from wsi_lpd.classes import QUPATH_CLASSES
from wsi_lpd.overlay.raster.draw import draw_overlay, round_length_um, write_picture

CLASSES = QUPATH_CLASSES[:2]


def thumbnail(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(180, 220, (height, width, 3), dtype=np.uint8)


def test_draw_overlay__classes_are_tinted_and_the_rest_is_the_slide():
    label_map = np.zeros((20, 30), dtype=np.uint8)
    label_map[4:14, 6:16] = 1
    label_map[4:14, 20:26] = 255
    slide = thumbnail(200, 300)
    picture = draw_overlay(slide, [label_map], CLASSES, opacity=0.5)
    assert picture.shape[1] == 300
    assert picture.shape[0] > 200
    inside = np.s_[60:120, 80:140]
    np.testing.assert_allclose(picture[inside], slide[inside] / 2 + np.array([100, 0, 0]), atol=1)
    for outside in (np.s_[150:200, :], np.s_[:, :50], np.s_[50:130, 210:250]):
        np.testing.assert_array_equal(picture[:200][outside], slide[outside])
    assert picture[90, 60].tolist() == [200, 0, 0]  # the outline, in full colour


def test_draw_overlay__legend_shows_colours_and_grows_by_the_scale_bar():
    label_map = noise(40, 60, sigma=4, seed=1, n_labels=3)
    slide = thumbnail(400, 600)
    plain = draw_overlay(slide, [label_map], CLASSES, opacity=0)
    legend = plain[400:].reshape(-1, 3).tolist()
    for _, color in CLASSES:
        assert legend.count(list(color)) > 50
    with_bar = draw_overlay(slide, [label_map], CLASSES, mpp=2.0, title="S1")
    assert with_bar.shape[0] > plain.shape[0]


@pytest.mark.parametrize(("mpp", "length_px"), [(1.0, 100), (0.5, 100), (7.0, 1000 / 7)])
def test_draw_overlay__the_scale_bar_has_its_length(mpp, length_px):
    slide = np.full((100, 600, 3), 255, dtype=np.uint8)
    label_map = np.zeros((10, 60), dtype=np.uint8)
    without = draw_overlay(slide, [label_map], CLASSES)
    panel = draw_overlay(slide, [label_map], CLASSES, mpp=mpp)[without.shape[0] :]
    dark = (panel < 60).all(axis=2)
    line = dark[dark.sum(axis=1).argmax()]
    run = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]])))
    assert max(run[1::2] - run[::2]) == pytest.approx(length_px, abs=2.5)


def test_draw_overlay__tissue_outline():
    slide = thumbnail(90, 120)
    tissue = np.zeros((9, 12), dtype=bool)
    tissue[3:6, 4:8] = True
    picture = draw_overlay(slide, [np.zeros((9, 12), dtype=np.uint8)], CLASSES, tissue=tissue)
    assert picture[30, 60].tolist() == [90, 90, 90]
    assert picture[45, 60].tolist() == slide[45, 60].tolist()


def test_draw_overlay__a_narrow_picture_wraps_its_legend():
    label_map = noise(20, 9, sigma=2, seed=1)
    narrow = draw_overlay(thumbnail(200, 90), [label_map], QUPATH_CLASSES)
    wide = draw_overlay(thumbnail(200, 600), [label_map], QUPATH_CLASSES)
    assert narrow.shape[0] > wide.shape[0]


@pytest.mark.parametrize(
    ("longest", "expected"), [(1, 1), (1.9, 1), (2, 2), (49.9, 20), (50, 50), (730, 500), (0.3, 0.2), (1e4, 1e4)]
)
def test_round_length_um__is_one_two_or_five(longest, expected):
    assert round_length_um(longest) == pytest.approx(expected)


def test_write_picture__png_holds_the_pixels(tmp_path):
    rgb = thumbnail(7, 5)
    write_picture(tmp_path / "sub" / "p.png", rgb)
    with Image.open(tmp_path / "sub" / "p.png") as image:
        np.testing.assert_array_equal(np.asarray(image), rgb)
