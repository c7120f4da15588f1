from __future__ import annotations

import logging

import pytest
from label_maps import noise, strips_of

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.simplification.budget import count_vertices, outline_within
from wsi_lpd.overlay.simplification.simplify import MAX_AREA_ERROR
from wsi_lpd.overlay.tracing.outlines import Outline, trace_strips

MAP = noise(200, 131, sigma=5, seed=4)
FRAME = GridFrame(4, 4, offset_x=7)


def strips():
    return strips_of(MAP, [64])


def n_vertices(outline):
    return sum(map(count_vertices, trace_strips(strips(), frame=FRAME, outline=outline)))


def test_outline_within__what_fits_stays():
    wanted = Outline(1.0)
    fit = outline_within(strips, wanted, max_vertices=n_vertices(wanted), frame=FRAME)
    assert fit.outline == wanted
    assert fit.n_vertices == n_vertices(wanted)
    assert 0 < fit.area_error <= MAX_AREA_ERROR


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_outline_within__takes_the_finest_step_that_fits(share, caplog):
    wanted = Outline(1.0)
    limit = int(share * n_vertices(wanted))
    with caplog.at_level(logging.INFO):
        fit = outline_within(strips, wanted, max_vertices=limit, frame=FRAME)
    assert fit.n_vertices == n_vertices(fit.outline) <= limit
    finer = fit.outline._replace(tolerance_px=fit.outline.tolerance_px / 2**0.5)
    assert n_vertices(finer) > limit or finer.tolerance_px <= 1.0
    assert f"at most {limit} vertices: {fit.n_vertices}" in caplog.text
    assert "area error" in caplog.text


def test_outline_within__begins_from_pixel_edges_too():
    limit = int(0.5 * n_vertices(Outline(0.0)))
    fit = outline_within(strips, Outline(0.0), max_vertices=limit, frame=FRAME)
    assert fit.n_vertices <= limit
    assert fit.outline.tolerance_px < 3


def test_outline_within__warns_of_what_cannot_be_had(caplog):
    fit = outline_within(strips, Outline(1.0), max_vertices=10, frame=FRAME)
    assert fit.outline.tolerance_px == 16
    assert fit.n_vertices == n_vertices(fit.outline) > 10
    assert "vertices is exceeded" in caplog.text
