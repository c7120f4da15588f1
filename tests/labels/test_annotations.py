"""Labels from drawn areas: exact shares, and the rule of evidence."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_lpd.config import TileConfig
from wsi_lpd.errors import LabelError
from wsi_lpd.labels.annotations import area_fractions, find_annotations, label_patches
from wsi_lpd.qupath.regions import read_regions
from wsi_lpd.tiling.job import in_standard_order
from wsi_lpd.types import Box, Size

CONFIG = TileConfig(label_fraction=0.05, annotated_fraction=0.9)


def boxes_at(*corners, side=100):
    return np.array([[x, y, side, side] for x, y in corners], np.int64)


def feature(geometry, name, **extra):
    properties = {"objectType": "annotation"}
    if name is not None:
        properties["classification"] = {"name": name, "color": [1, 2, 3]}
    return {
        "type": "Feature",
        "geometry": json.loads(shapely.to_geojson(geometry)),
        "properties": {**properties, **extra},
    }


def test_area_fractions__hand_made_polygons():
    with_hole = shapely.box(0, 0, 200, 50) - shapely.box(20, 10, 60, 30)
    triangle = shapely.Polygon([(300, 0), (400, 0), (400, 100)])
    twice = [shapely.box(500, 0, 560, 100), shapely.box(540, 0, 570, 100)]
    boxes = boxes_at((0, 0), (100, 0), (300, 0), (500, 0), (700, 0), (50, 25))
    got = area_fractions([with_hole, triangle, *twice], boxes)
    # (50, 25): the strip of 25 rows, less 10 by 5 of the hole.
    np.testing.assert_allclose(got, [0.42, 0.5, 0.5, 0.7, 0.0, 0.25 - 0.005], atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_area_fractions__equals_the_union_clipped_box_by_box(seed):
    rng = np.random.default_rng(seed)
    blobs = [shapely.Point(*rng.uniform(0, 900, 2)).buffer(rng.uniform(5, 200), quad_segs=40) for _ in range(9)]
    boxes = np.concatenate([rng.integers(0, 900, (20, 2)), rng.integers(1, 150, (20, 2))], axis=1)
    union = shapely.union_all(blobs)
    wanted = [union.intersection(shapely.box(x, y, x + w, y + h)).area / (w * h) for x, y, w, h in boxes]
    np.testing.assert_allclose(area_fractions(blobs, boxes), wanted, atol=1e-9)


def test_area_fractions__nothing_drawn_or_nothing_asked():
    assert area_fractions([], boxes_at((0, 0))).tolist() == [0.0]
    assert area_fractions([shapely.box(0, 0, 1, 1)], np.empty((0, 4), np.int64)).shape == (0,)


def test_label_patches__a_full_map_gives_full_labels():
    areas = {"Tumor": [shapely.box(0, 0, 150, 100)], "Stroma": [shapely.box(150, 0, 300, 60)]}
    boxes = boxes_at((0, 0), (100, 0), (200, 0))
    # The third patch is glass below y = 60; its tissue is mapped whole.
    labels = label_patches(areas, ["Tumor", "Stroma"], boxes=boxes, tissue=np.float32([1, 1, 0.6]), config=CONFIG)
    assert labels.tolist() == [[1, 0], [1, 1], [0, 1]]


def test_label_patches__few_outlines_on_a_slide_leave_the_rest_unlabelled():
    areas = {"Tumor": [shapely.box(0, 0, 100, 100), shapely.box(200, 0, 210, 100), shapely.box(400, 0, 404, 100)]}
    boxes = boxes_at((0, 0), (100, 0), (200, 0), (400, 0))
    labels = label_patches(areas, ["Tumor", "Stroma"], boxes=boxes, tissue=np.ones(4, np.float32), config=CONFIG)
    # all tumour: so no stroma; nothing drawn; a tenth is tumour, the rest unknown; a trace is no evidence.
    assert labels.tolist() == [[1, 0], [-1, -1], [1, -1], [-1, -1]]
    complete = label_patches(
        areas, ["Tumor", "Stroma"], boxes=boxes, tissue=np.ones(4, np.float32), config=CONFIG, complete=True
    )
    assert complete.tolist() == [[1, 0], [0, 0], [1, 0], [0, 0]]


def test_label_patches__classes_that_are_not_asked_for_count_as_judged():
    areas = {"Fat": [shapely.box(0, 0, 100, 100)], "tumour": [shapely.box(100, 0, 200, 100)]}
    labels = label_patches(
        areas, ["TUM"], boxes=boxes_at((0, 0), (100, 0)), tissue=np.ones(2, np.float32), config=CONFIG
    )
    assert labels.tolist() == [[0], [1]]


def test_label_patches__no_tissue_and_nothing_drawn_stays_unlabelled():
    labels = label_patches({}, ["A"], boxes=boxes_at((0, 0)), tissue=np.zeros(1, np.float32), config=CONFIG)
    assert labels.tolist() == [[-1]]


def test_label_patches__thresholds_are_inclusive():
    areas = {"A": [shapely.box(0, 0, 5, 100)], "B": [shapely.box(5, 0, 90, 100)]}
    labels = label_patches(areas, ["A", "B"], boxes=boxes_at((0, 0)), tissue=np.ones(1, np.float32), config=CONFIG)
    assert labels.tolist() == [[1, 1]]
    strict = CONFIG.model_copy(update={"label_fraction": 0.0501})
    labels = label_patches(areas, ["A", "B"], boxes=boxes_at((0, 0)), tissue=np.ones(1, np.float32), config=strict)
    assert labels.tolist() == [[0, 1]]


def test_read_areas__all_forms_of_qupath(tmp_path):
    nested = feature(shapely.box(0, 0, 10, 10), "Region*", childObjects=[feature(shapely.box(1, 1, 5, 4), "Tumor")])
    text_class = feature(shapely.box(20, 0, 30, 5), None, classification="Stroma")
    names = feature(
        shapely.box(40, 0, 50, 5), None, classification={"names": ["Immune cells", "CD3"], "color": [0, 0, 0]}
    )
    plain = feature(shapely.box(60, 0, 70, 5), None)
    (tmp_path / "a.geojson").write_text(json.dumps([nested, text_class, names, plain]))
    areas = read_regions(tmp_path / "a.geojson", slide_px=Size(9000, 9000), bounds=None).classes()
    assert {name: shapely.union_all(g).area for name, g in areas.items()} == {
        "Tumor": 12.0,
        "Stroma": 50.0,
        "Immune cells": 50.0,
    }


@pytest.mark.parametrize(
    ("origin", "metadata", "moved"),
    [("auto", {}, True), ("bounds", {}, True), ("level0", {}, False), ("auto", {"origin": "level0"}, False)],
)
def test_read_areas__adds_the_bounds_back(tmp_path, origin, metadata, moved):
    collection = {
        "type": "FeatureCollection", "features": [feature(shapely.box(7, 9, 20, 11), "Tumor")], "metadata": metadata
    }  # fmt: skip
    (tmp_path / "a.geojson").write_text(json.dumps(collection))
    bounds = Box(1000, 300, 5000, 4000)
    areas = read_regions(tmp_path / "a.geojson", slide_px=Size(9000, 9000), bounds=bounds, origin=origin).classes()
    assert areas["Tumor"][0].bounds == ((1007, 309, 1020, 311) if moved else (7, 9, 20, 11))


def test_find_annotations__file_folder_and_pattern(tmp_path):
    for name in ("S1.geojson", "S2.truth.geojson", "S3.svs.geojson", "S4.geojson.gz"):
        (tmp_path / name).touch()

    def find(path, name, n=1):
        found = find_annotations(path, tmp_path / f"{name}.svs", name, n_slides=n)
        return None if found is None else found.name

    assert [find(tmp_path, name) for name in ("S1", "S2", "S3", "S4", "S5")] == [
        "S1.geojson", "S2.truth.geojson", "S3.svs.geojson", "S4.geojson.gz", None,
    ]  # fmt: skip
    assert find(tmp_path / "*.truth.geojson", "S2", n=3) == "S2.truth.geojson"
    assert find(tmp_path / "*.truth.geojson", "S1", n=3) is None
    assert find(tmp_path / "S1.geojson", "other") == "S1.geojson"
    with pytest.raises(LabelError, match="one annotation file for 2 slides"):
        find(tmp_path / "S1.geojson", "S1", n=2)
    with pytest.raises(LabelError, match="no such annotation file"):
        find(tmp_path / "none.geojson", "S1")


def test_area_fractions__is_fast_on_large_outlines():
    angle = np.linspace(0, 2 * np.pi, 50_000, endpoint=False)
    radius = 20_000 * (1 + 0.2 * np.sin(37 * angle))
    outline = shapely.Polygon(np.stack([25_000 + radius * np.cos(angle), 25_000 + radius * np.sin(angle)], axis=1))
    corners = np.stack(np.meshgrid(np.arange(0, 50_000, 448), np.arange(0, 50_000, 448)), axis=-1).reshape(-1, 2)
    start = time.perf_counter()
    fractions = area_fractions([outline], boxes_at(*corners, side=448))
    seconds = time.perf_counter() - start
    assert fractions.sum() * 448**2 == pytest.approx(outline.area, rel=1e-9)
    assert seconds < 20  # 1 s on a free core; clipping the whole outline to each box takes minutes


def test_in_standard_order__qupath_classes_first_each_once():
    names = ["Necrosis", "Fat", "stroma", "Stroma", "Adipose", "Tumor"]
    assert in_standard_order(names) == ["Tumor", "Stroma", "Necrosis", "Adipose", "Fat"]
