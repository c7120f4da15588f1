"""The parts of the generator: fields, layout, swatches, blocks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wsi_lpd.synthetic.cells import make_cells, thinned
from wsi_lpd.synthetic.layout import Layout
from wsi_lpd.synthetic.noise import Grid, nearest_sites, periodic_noise, smooth_noise, uniform
from wsi_lpd.synthetic.painter import BLOCK_PX, Painter
from wsi_lpd.synthetic.stain import make_stain
from wsi_lpd.synthetic.textures import CLASS_OF, Texture, make_swatches
from wsi_lpd.types import Size


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def swatches(pool):
    return make_swatches(256, 2.0, make_stain(9), 9, pool)


def swatch(swatches, texture):
    side = swatches.side_px
    rgbx = swatches.pixels.view(np.uint8).reshape(len(Texture), side, side, 4)
    return rgbx[texture, ..., :3].astype(float)


def line(start, n, step=2.0):
    return start + step * np.arange(n)


def test_smooth_noise__is_one_field_wherever_it_is_asked():
    whole = smooth_noise(Grid(line(-300, 200), line(50, 120)), 37.0, 4)
    part = smooth_noise(Grid(line(-300 + 2 * 70, 60), line(50 + 2 * 30, 40)), 37.0, 4)
    np.testing.assert_allclose(whole[30:70, 70:130], part, atol=1e-5)
    assert whole.std() == pytest.approx(1, abs=0.35)
    assert np.abs(np.diff(whole, axis=1)).max() < 0.5
    assert np.abs(whole - smooth_noise(Grid(line(-300, 200), line(50, 120)), 37.0, 5)).mean() > 0.5


def test_nearest_sites__agree_with_trying_all():
    x, y = np.meshgrid(np.arange(0, 700, 7, np.float32), np.arange(-250, 150, 7, np.float32))

    def factor(ix, iy):
        return 0.9 + 0.2 * uniform(ix, iy, 8)

    found = nearest_sites(x, y, 50.0, 3, factor)
    ix, iy = np.meshgrid(np.arange(-4, 19), np.arange(-9, 8))
    site_x = (ix + 0.15 + 0.7 * uniform(ix, iy, 3)) * 50
    site_y = (iy + 0.15 + 0.7 * uniform(ix, iy, 4)) * 50
    distance = np.hypot(x[..., None] - site_x.ravel(), y[..., None] - site_y.ravel()) * factor(ix, iy).ravel()
    best = np.sort(distance, axis=-1)
    assert (np.abs(found.distance_um - best[..., 0]) < 1e-2).mean() > 0.995
    assert (np.abs(found.second_um - best[..., 1]) < 1e-2).mean() > 0.95
    same = distance.argmin(-1) == (found.iy + 9) * ix.shape[1] + found.ix + 4
    assert same.mean() > 0.995


def test_periodic_noise__has_no_seam():
    field = periodic_noise(256, 30.0, np.random.default_rng(1))
    inside = np.abs(np.diff(field, axis=1)).mean()
    assert np.abs(field[:, 0] - field[:, -1]).mean() < 1.5 * inside
    assert field.std() == pytest.approx(1, abs=0.02)


def test_cells__step_to_the_nearest_centre():
    cells = make_cells(128, 2.0, np.random.default_rng(2))
    y, x = np.mgrid[:128, :128]
    reached = np.stack([x + cells.to_centre_px[0], y + cells.to_centre_px[1]], axis=-1) % 128
    off = np.abs(reached[:, :, None, :] - cells.sites_px[None, None])
    off = np.minimum(off, 128 - off).max(-1).min(-1)
    assert off.max() <= 1.0
    assert np.hypot(*cells.to_centre_px.astype(float)).mean() < 7.6 * 2.0 / 2


def test_thinned__keeps_the_distance_across_the_seam():
    cells = make_cells(256, 2.0, np.random.default_rng(2))
    kept = cells.sites_px[thinned(cells, 25.0, np.random.default_rng(3))]
    off = np.abs(kept[:, None] - kept[None])
    distance = np.hypot(*np.minimum(off, 256 - off).transpose(2, 0, 1))
    assert distance[~np.eye(len(kept), dtype=bool)].min() >= 25
    assert len(kept) > 40


@pytest.mark.parametrize("texture", list(Texture))
def test_swatch__has_no_seam(swatches, texture):
    picture = swatch(swatches, texture)
    for axis in (0, 1):
        steps = np.abs(picture - np.roll(picture, 1, axis=axis)).mean(axis=(1 - axis, 2))
        assert steps[0] < 1.6 * steps.mean() + 0.5


def test_swatches__classes_have_unlike_morphologies_and_share_colours(swatches):
    """The mean colours of some textures of different classes are nearer than those of one class."""
    mean = np.array([swatch(swatches, texture).mean(axis=(0, 1)) for texture in Texture])
    distance = np.abs(mean[:, None] - mean[None]).max(-1)
    same = CLASS_OF[:, None] == CLASS_OF[None]
    for value in range(1, 5):
        members = np.flatnonzero(value == CLASS_OF)
        assert len(members) >= 2
        assert distance[np.ix_(members, members)].max() > 8
    tissue = (CLASS_OF > 0)[:, None] & (CLASS_OF > 0)[None]
    assert distance[tissue & ~same].min() < 8
    assert np.sort(distance[tissue & ~same])[:20].mean() < distance[tissue & same & ~np.eye(13, dtype=bool)].mean()


def test_stain__varies_between_slides():
    stains = [make_stain(seed) for seed in range(12)]
    strength = np.array([stain.haematoxylin.sum() / stain.eosin.sum() for stain in stains])
    assert strength.std() > 0.05
    assert all(stain.haematoxylin[0] > stain.eosin[0] for stain in stains)  # one is blue, the other pink


@pytest.mark.parametrize("seed", range(20))
def test_layout__holds_enough_of_every_class(seed):
    """On one square millimetre, which is what a small demo slide shows."""
    nodes = (np.arange(0, 4096, 16) + 8) * 0.25
    textures = Layout(Size(4096, 4096), mpp=0.25, seed=seed).textures(Grid(nodes, nodes))
    share = np.bincount(CLASS_OF[textures].ravel(), minlength=5) / textures.size
    assert 0.2 < share[0] < 0.6
    assert (share[1:] / share[1:].sum() > 0.05).all()


def test_layout__uses_every_texture():
    nodes = (np.arange(0, 16384, 32) + 16) * 0.25
    textures = Layout(Size(16384, 16384), mpp=0.25, seed=1).textures(Grid(nodes, nodes))
    assert set(np.unique(textures)) == set(Texture)


def test_blocks__meet_without_a_seam(pool):
    painter = Painter(Size(2500, 2300), mpp=0.5, seed=2, pen_marks=True, pool=pool)
    left, right = painter.block(0, 0), painter.block(1, 0)
    below = painter.block(0, 1)
    for joined in (
        np.concatenate([left.rgb, right.rgb], axis=1),
        np.concatenate([left.rgb, below.rgb]).transpose(1, 0, 2),
    ):
        steps = np.abs(np.diff(joined[:, BLOCK_PX - 200 : BLOCK_PX + 200].astype(float), axis=1)).mean(axis=(0, 2))
        assert steps[199] < 1.25 * np.median(steps)
    borders = (np.concatenate([left.classes, right.classes], axis=1)[:, 1:] != 0).mean()
    assert borders > 0.3


def test_blocks__do_not_depend_on_what_was_painted_before(pool):
    size_px = Size(1200, 1100)
    one = Painter(size_px, mpp=1.0, seed=2, pen_marks=False, pool=pool)
    other = Painter(size_px, mpp=1.0, seed=2, pen_marks=False, pool=pool)
    first = [one.block(x, y) for x, y in ((0, 1), (1, 0))]
    second = [other.block(x, y) for x, y in ((1, 0), (0, 1))]
    for a, b in zip(first, reversed(second), strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.classes, b.classes)
