"""Each rule of QuPath's reader, broken once."""

from __future__ import annotations

import copy
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from qupath_rules import check_overlay_file

from wsi_lpd.overlay.check import _snapping_changes_nothing, geometry_problems
from wsi_lpd.overlay.tracing.flat_rings import flat_rings
from wsi_lpd.qupath.classes import name_problem

RING = [[0, 0], [9, 0], [9, 4], [0, 4], [0, 0]]
GOOD: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "5e0b1c9e-0000-5000-8000-00000000000a",
            "geometry": {"type": "Polygon", "coordinates": [RING, [[1, 1], [2, 1], [2, 2.25], [1, 1]]]},
            "properties": {
                "objectType": "annotation",
                "name": "Tumor",
                "classification": {"name": "Tumor", "color": [200, 0, 0]},
                "measurements": {"a": 1.5, "b": "NaN"},
                "metadata": {"tool": "x"},
            },
        },
        {
            "type": "Feature",
            "geometry": {"type": "MultiPolygon", "coordinates": [[RING], [[[20, 0], [25, 0], [20, 5], [20, 0]]]]},
            "properties": {"objectType": "detection"},
        },
    ],
}


def violations(document: Any, tmp_path: Path, name: str = "o.geojson") -> list[str]:
    path = tmp_path / name
    data = (document if isinstance(document, str) else json.dumps(document)).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return check_overlay_file(path)


@pytest.mark.parametrize("name", ["o.geojson", "o.json", "o.geojson.gz", "O.GEOJSON"])
def test_check_overlay_file__a_good_file_passes(name, tmp_path):
    assert violations(GOOD, tmp_path, name) == []


def test_check_overlay_file__other_names_are_not_read_by_qupath(tmp_path):
    assert "reads only" in violations(GOOD, tmp_path, "o.txt")[0]


BROKEN = [
    (("type",), "x", "top level is no FeatureCollection"),
    (("features",), None, "no list of features"),
    (("features", 0), None, "feature 1: is no Feature"),
    (("features", 0, "type"), "feature", "feature 1: is no Feature"),
    (("features", 0, "geometry"), None, "geometry is no object"),
    (("features", 0, "properties"), None, "properties is no object"),
    (("features", 0, "id"), None, "is no UUID"),
    (("features", 0, "id"), "class_0_0", "is no UUID"),
    (("features", 1, "id"), GOOD["features"][0]["id"], "feature 2: id .* occurs twice"),
    (("features", 0, "properties", "objectType"), "tumour", "objectType is 'tumour'"),
    (("features", 0, "properties", "objectType"), None, "objectType is None"),
    (("features", 0, "properties", "type"), "x", "called type"),
    (("features", 0, "properties", "name"), None, "name is None"),
    (("features", 0, "properties", "classification"), "Tumor", "no object with a name"),
    (("features", 0, "properties", "classification"), {"name": "Tumor"}, "colour None"),
    (("features", 0, "properties", "classification", "color"), [200, 0], "has the colour"),
    (("features", 0, "properties", "classification", "color"), [200, 0, 0.5], "has the colour"),
    (("features", 0, "properties", "classification", "color"), [200, 0, 300], "has the colour"),
    (("features", 0, "properties", "classification", "color"), -3670016, "has the colour"),
    (("features", 0, "properties", "classification", "name"), "A: B", "colon"),
    (("features", 0, "properties", "classification", "name"), " ", "blank"),
    (("features", 0, "properties", "classification", "name"), "A\nB", "line break"),
    (("features", 0, "properties", "measurements"), [{"name": "a", "value": 1}], "measurements is no map"),
    (("features", 0, "properties", "measurements", "a"), "large", "measurement 'a' is 'large'"),
    (("features", 0, "properties", "measurements", "a"), None, "measurement 'a' is None"),
    (("features", 0, "properties", "metadata", "tool"), {"v": 1}, "metadata is no map of texts"),
    (("features", 0, "geometry", "type"), "Point", "no Polygon or MultiPolygon"),
    (("features", 0, "geometry", "type"), "polygon", "no Polygon or MultiPolygon"),
    (("features", 0, "geometry", "coordinates"), [], "no Polygon or MultiPolygon"),
    (("features", 0, "geometry", "coordinates"), [[]], "no list of finite"),
    (("features", 0, "geometry", "coordinates"), [RING[:4]], "not closed"),
    (("features", 0, "geometry", "coordinates"), [[[0, 0], [1, 1], [0, 0]]], "ring of 3 positions"),
    (("features", 0, "geometry", "coordinates"), [[[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]], "Self-intersection"),
    (("features", 0, "geometry", "coordinates"), [RING, [[20, 1], [22, 1], [22, 2], [20, 1]]], "Hole lies outside"),
    (("features", 0, "geometry", "coordinates"), [[[0, 0], [9, 0], [0, 0], [0, 0]]], "feature 1"),
    (("features", 0, "geometry", "coordinates"), [[[0, 0], [9.001, 0], [9, 4], [0, 0]]], "two decimals"),
    (("features", 1, "geometry", "coordinates"), [[RING]], "one part"),
    (("features", 1, "geometry", "coordinates"), [[RING], []], "without rings"),
    (("features", 1, "geometry", "coordinates"), [[RING], [[[1, 1], [2, 1], [2, 2], [1, 1]]]], "feature 2"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "message"), BROKEN)
def test_check_overlay_file__every_broken_rule_is_named(key, value, message, tmp_path):
    document = copy.deepcopy(GOOD)
    place: Any = document
    for part in key[:-1]:
        place = place[part]
    place[key[-1]] = value
    (violation,) = violations(document, tmp_path)
    assert re.search(message, violation), violation


@pytest.mark.parametrize(
    "text", ["", "{", '{"type":"FeatureCollection","features":[]}\n{}', '{"features":[NaN]}', '{"features":[1,]}']
)
def test_check_overlay_file__not_one_json_document(text, tmp_path):
    assert violations(text, tmp_path)[0].startswith("not one JSON document")


def test_geometry_problems__one_answer_per_geometry():
    bow_tie = shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])
    problems = geometry_problems(
        [shapely.box(0, 0, 3, 2), bow_tie, shapely.Point(1, 2), shapely.box(0, 0, 0.004, 7), None, shapely.Polygon()]
    )
    assert problems[0] is None
    assert "Self-intersection" in str(problems[1])
    assert problems[2] == problems[4] == problems[5] == "is empty or not a polygon"
    assert "rounded to 0.01" in str(problems[3])


def test_geometry_problems__nothing_to_check():
    assert geometry_problems([]) == []


@given(st.integers(3, 30), st.integers(0, 100_000), st.sampled_from([8, 80, 900]))
def test_snapping_changes_nothing__is_only_claimed_where_it_holds(n_points, seed, size):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, n_points))
    radius = rng.uniform(0.2, 1, n_points) * size
    star = shapely.Polygon(np.rint(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]) + 150_000)
    claimed = _snapping_changes_nothing(flat_rings(np.array([star])))[0]
    if star.is_valid and claimed:
        assert shapely.equals(shapely.set_precision(star, 0.01), star)
    xy = shapely.get_coordinates(star)
    if np.hypot(*np.diff(xy, axis=0).T).max() < 100:
        assert claimed


def test_snapping_changes_nothing__not_claimed_for_long_slanted_or_fractional_edges():
    slanted = shapely.Polygon([(0, 0), (200, 1), (0, 9)])
    fractional = shapely.box(0, 0, 2.5, 3)
    straight = shapely.box(0, 0, 100_000, 3)
    short = shapely.Polygon([(0, 0), (9, 1), (0, 9)])
    claimed = _snapping_changes_nothing(flat_rings(np.array([slanted, fractional, straight, short])))
    assert claimed.tolist() == [False, False, True, True]


def test_class_name_problems__good_names_pass():
    for name in ("Tumor", "Immune cells", "Ignore*", "Fettgewebe ä"):
        assert name_problem(name) is None
