"""Tissue that fills the picture is labelled to its edges, and a turned slide gives the turned map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from colour_predictor import BLUE, RED, ColourPredictor, everywhere, whole_map

from wsi_lpd.config import SegmentConfig
from wsi_lpd.overlay.frame import GridFrame, n_cells
from wsi_lpd.overlay.tracing.trace import trace_regions
from wsi_lpd.prediction.images import predict_image
from wsi_lpd.slide import open_slide

TURNS = {
    "as it is": lambda a: a,
    "left to right": lambda a: a[:, ::-1],
    "upside down": lambda a: a[::-1],
    "half a turn": lambda a: a[::-1, ::-1],
    "a quarter turn": lambda a: np.rot90(a),
    "three quarters": lambda a: np.rot90(a, 3),
    "transposed": lambda a: a.swapaxes(0, 1),
}


class ShortSighted(ColourPredictor):
    """Sees the mean of the surroundings, as convolutions do, and nothing beyond its window."""

    def _maps(self, window, stride):
        return super()._maps(cv2.blur(window, (31, 31), borderType=cv2.BORDER_REFLECT), stride)


def tissue(seed, *, height, width):
    """Red and blue in blobs of some 60 px, from edge to edge."""
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.random((height // 60 + 2, width // 60 + 2)).astype(np.float32), (width, height))
    image = np.where((blobs > 0.5)[..., None], np.uint8(RED), np.uint8(BLUE))
    return (image + rng.integers(-20, 20, image.shape)).clip(0, 255).astype(np.uint8)


def labels_of(write_slide, image, **settings):
    with open_slide(write_slide(np.ascontiguousarray(image)), mpp=0.5) as slide:
        return whole_map(slide, everywhere(slide), ShortSighted(), SegmentConfig(batch_size=7, **settings))[1].labels


@pytest.mark.parametrize("seed", range(20))
def test_tissue_to_the_edge__is_labelled_to_the_edge_on_all_four_sides(write_slide, seed):
    height, width = np.random.default_rng(seed).integers(150, 420, 2)
    labels = labels_of(write_slide, tissue(seed, height=height, width=width)) > 0
    inside = labels[2:-2, 2:-2].mean()
    for name, strip in {
        "top": labels[:2], "bottom": labels[-2:], "left": labels[:, :2], "right": labels[:, -2:],
    }.items():  # fmt: skip
        assert abs(strip.mean() - inside) <= 0.03, name


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize(("height", "width"), [(300, 412), (212, 308), (96, 260)])
def test_a_turned_slide__gives_the_turned_map(write_slide, turn, height, width):
    image = tissue(3, height=height, width=width)
    straight, turned = labels_of(write_slide, image), labels_of(write_slide, TURNS[turn](image))
    assert (TURNS[turn](straight) == turned).mean() >= 0.99


@pytest.mark.parametrize(("height", "width"), [(300, 412), (150, 90), (64, 64)])
def test_evaluate_and_segment__see_the_same_beyond_the_edge(write_slide, height, width):
    image = tissue(5, height=height, width=width)
    settings = {"gate": "none", "window_px": 64, "output_stride": 1}
    maps = predict_image(image, ShortSighted(), SegmentConfig(**settings))
    np.testing.assert_array_equal(maps.logits.argmax(axis=0), labels_of(write_slide, image, **settings))


@pytest.mark.parametrize("downsample", [1.0, 2.7, 4.0, 5.98, 7.03])
@pytest.mark.parametrize("width", range(53, 60))
def test_outlines__end_where_the_slide_ends(width, downsample):
    height = width - 11
    columns, rows = n_cells(width, downsample), n_cells(height, downsample)
    labels = np.ones((rows, columns), np.uint8)
    labels[-1, -1] = 2
    frame = GridFrame(downsample, downsample, offset_x=10, offset_y=3, limit_x=width, limit_y=height)
    outlined = trace_regions(labels, frame=frame)
    assert len(outlined.polygons) == 2
    assert shapely.is_valid(outlined.polygons).all()
    assert shapely.total_bounds(outlined.polygons).tolist() == [-10, -3, width - 10, height - 3]
    assert shapely.area(outlined.polygons).sum() == width * height
    corners = np.array([[0, 0], [columns, rows], [columns - 1, rows - 1]])
    np.testing.assert_array_equal(np.rint(frame.to_grid(frame.to_level0(corners))), corners)
