from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import shapely

from wsi_lpd.errors import OverlayError
from wsi_lpd.qupath.read import load_overlay


def read_overlay(path):
    return [(annotation.class_name, annotation.geometry) for annotation in load_overlay(path).annotations]


SQUARE = [[[1, 2], [6, 2], [6, 5], [1, 5], [1, 2]]]
BOX = shapely.box(1, 2, 6, 5)


def feature(properties: Any = None, **geometry: Any) -> dict[str, Any]:
    shape = {"type": "Polygon", "coordinates": SQUARE, **geometry}
    return {"type": "Feature", "geometry": shape, "properties": properties}


def written(document: Any, tmp_path: Path, name: str = "a.geojson") -> Path:
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


TOP_LEVELS = {
    "collection": {"type": "FeatureCollection", "features": [feature()]},
    "array": [feature()],
    "array of collections": [{"type": "FeatureCollection", "features": [feature()]}],
    "one feature": feature(),
    "bare geometry": {"type": "Polygon", "coordinates": SQUARE},
    "array of geometries": [{"type": "MultiPolygon", "coordinates": [SQUARE]}],
    "features without a type": {"features": [feature()]},
    "third ordinate": feature(coordinates=[[[x, y, 0] for x, y in SQUARE[0]]]),
    "numbers as text": feature(coordinates=[[[str(x), str(y)] for x, y in SQUARE[0]]]),
}


@pytest.mark.parametrize("name", TOP_LEVELS)
def test_read_overlay__every_top_level(name, tmp_path):
    ((class_name, geometry),) = read_overlay(written(TOP_LEVELS[name], tmp_path))
    assert class_name is None
    assert geometry.equals(BOX)


CLASSIFICATIONS = [
    ({"classification": {"name": "Tumor", "color": [200, 0, 0]}}, "Tumor", (200, 0, 0)),
    ({"classification": {"name": "Tumor", "color": [200, 0, 0, 255]}}, "Tumor", (200, 0, 0)),
    ({"classification": {"name": "Tumor", "colorRGB": -3670016}}, "Tumor", (200, 0, 0)),
    ({"classification": {"name": "Tumor", "color": None}}, "Tumor", None),
    ({"classification": {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}}, "Tumor: Positive", (1, 2, 3)),
    ({"classification": "Tumor"}, "Tumor", None),
    ({"classification": " Tumor "}, "Tumor", None),
    ({"label": "Tumor", "group": "x"}, "Tumor", None),
    ({"classification": None}, None, None),
    ({"classification": {}}, None, None),
    ({"classification": {"name": " ", "color": [1, 2, 3]}}, None, None),
    ({}, None, None),
    (None, None, None),
]


@pytest.mark.parametrize(("properties", "class_name", "color"), CLASSIFICATIONS)
def test_load_overlay__every_form_of_a_class(properties, class_name, color, tmp_path):
    overlay = load_overlay(written(feature(properties), tmp_path))
    assert [a.class_name for a in overlay.annotations] == [class_name]
    assert overlay.colors == ({} if color is None else {class_name: color})


def test_load_overlay__children_follow_their_parent(tmp_path):
    leaf, other = feature({"name": "leaf"}), feature({"name": "other"})
    child = feature({"name": "child", "childObjects": [leaf]})
    root = feature({"name": "parent", "children": [child, other]})
    names = [a.name for a in load_overlay(written([root, feature({"name": 7})], tmp_path)).annotations]
    assert names == ["parent", "child", "leaf", "other", "7"]


def test_load_overlay__deep_nesting_is_no_problem(tmp_path):
    text = json.dumps(feature({"childObjects": ["@"]}))
    before, after = text.split('"@"')
    assert len(load_overlay(written(before * 150 + text.replace('"@"', "") + after * 150, tmp_path)).annotations) == 151


def test_load_overlay__nesting_without_end_is_an_error(tmp_path):
    with pytest.raises(OverlayError, match="is not JSON"):
        load_overlay(written("[" * 200_000, tmp_path))


def test_load_overlay__an_ellipse_fills_its_bounding_box(tmp_path):
    (annotation,) = load_overlay(written(feature(isEllipse=True), tmp_path)).annotations
    assert annotation.geometry.bounds == pytest.approx((1, 2, 6, 5), abs=0.01)
    assert annotation.geometry.area == pytest.approx(3.14159 * 2.5 * 1.5, rel=0.001)


def test_load_overlay__holes_and_parts_are_kept(tmp_path):
    hole = [[2, 3], [3, 3], [3, 4], [2, 3]]
    parts = [[SQUARE[0], hole], [[[9, 9], [12, 9], [9, 12], [9, 9]]], []]
    ((_, geometry),) = read_overlay(written(feature(type="MultiPolygon", coordinates=parts), tmp_path))
    assert geometry.geom_type == "MultiPolygon"
    assert geometry.area == 15 - 0.5 + 4.5


def test_load_overlay__points_lines_cores_and_empty_areas_are_skipped_and_counted(tmp_path, caplog):
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [3, 4]}}
    line = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[3, 4], [5, 6]]}, "properties": {}}
    flat = feature(coordinates=[[[1, 1], [5, 1], [1, 1], [1, 1]]])
    others = [feature({"objectType": "tmaCore"}), {**feature(), "id": "PathRootObject"}, feature(coordinates=[])]
    with caplog.at_level(logging.WARNING):
        overlay = load_overlay(written([point, line, point, flat, feature(), *others], tmp_path))
    assert len(overlay.annotations) == 1
    assert overlay.skipped == {
        "Point": 2, "LineString": 1, "empty Polygon": 2, "tmaCore": 1, "PathRootObject": 1,
    }  # fmt: skip
    assert "2 Point" in caplog.text


def test_load_overlay__a_crossing_outline_is_repaired_and_reported(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        ((_, geometry),) = read_overlay(
            written(feature(coordinates=[[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]), tmp_path)
        )
    assert geometry.is_valid
    assert geometry.area == 50
    assert "repaired 1" in caplog.text


def test_load_overlay__gzip_byte_order_mark_and_any_name(tmp_path):
    path = tmp_path / "annotations.bin"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps([feature({"classification": "Fett ä"})]).encode()))
    assert [name for name, _ in read_overlay(path)] == ["Fett ä"]


@pytest.mark.parametrize(
    "document", [[], {"type": "FeatureCollection"}, {"type": "FeatureCollection", "features": []}, ""]
)
def test_load_overlay__nothing_inside(document, tmp_path):
    assert load_overlay(written(document, tmp_path)).annotations == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not JSON"),
        ("<xml/>", "is not JSON"),
        ({"type": "Area"}, "found 'Area', expected a FeatureCollection"),
        ([3], "found 'int'"),
        ([feature(), feature(), {"type": "Feature", "geometry": None}], "feature 3: found geometry None"),
        ([feature(), feature(type="polygon")], "feature 2: found geometry 'polygon'"),
        ([feature(coordinates=None)], "feature 1: the Polygon has no list of coordinates"),
        ([feature(coordinates=[[[0, 0], [1, 1]]])], "feature 1: .*a ring of 2 position"),
        ([feature(coordinates=[[[0, 0], [1, None], [2, 2], [0, 0]]])], "feature 1: .*cannot be read"),
        ([feature(coordinates=[[[0, 0], [1], [2, 2], [0, 0]]])], "feature 1: .*cannot be read"),
        ([feature(coordinates=[[1, 2, 3, 4]])], "feature 1: .*cannot be read"),
        ([feature(coordinates=[[["a", 1], [2, 3], [4, 5], ["a", 1]]])], "feature 1: .*cannot be read"),
        ('[{"type":"Polygon","coordinates":[[[0,0],[NaN,1],[2,2],[0,0]]]}]', "feature 1: .*not finite"),
        ([feature([1])], "feature 1: found properties"),
        ([feature({"classification": 5})], "feature 1: found classification 5"),
        ({"type": "FeatureCollection", "features": [feature(), 5]}, "feature 2: found int"),
    ],
)
def test_load_overlay__errors_name_the_file_and_the_feature(document, message, tmp_path):
    with pytest.raises(OverlayError, match=rf"a\.geojson: .*{message}"):
        load_overlay(written(document, tmp_path))


def test_load_overlay__damaged_and_missing_files(tmp_path):
    cut = tmp_path / "cut.geojson.gz"
    cut.write_bytes(gzip.compress(json.dumps([feature()] * 50).encode())[:60])
    with pytest.raises(OverlayError, match=r"cut\.geojson\.gz: the gzip data is damaged"):
        load_overlay(cut)
    with pytest.raises(OverlayError, match="cannot be read"):
        load_overlay(tmp_path / "none.geojson")
    binary = tmp_path / "b.geojson"
    binary.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(OverlayError, match="unpacked first"):
        load_overlay(binary)


@pytest.mark.realdata
def test_load_overlay__every_real_export(real_data):
    files = [p for p in sorted((real_data / "geojson").rglob("*.*json")) if "sectra" not in p.parts]
    found = {p.relative_to(real_data / "geojson").as_posix(): load_overlay(p) for p in files}
    assert len(found) >= 26
    for name, overlay in found.items():
        n_read = len(overlay.annotations) + sum(overlay.skipped.values())
        assert n_read >= 1, name
        assert all(a.geometry.is_valid and a.geometry.area > 0 for a in overlay.annotations), name
    single_cells = found["qupath_to_lmd/Single_cells.geojson"]
    assert len(single_cells.annotations) == 128
    assert single_cells.skipped == {"Point": 3}
    assert found["histoqc/geojson_example.json"].colors == {"Tumor": (200, 0, 0), "Invborder": (0, 255, 0)}
    assert {a.class_name for a in found["luna/1006844.annotation.geojson"].annotations} == {"Other", "Tumor", "TILs"}


@pytest.mark.realdata
def test_load_overlay__what_is_no_geojson_is_named(real_data):
    others = [*(real_data / "geojson").rglob("*.xml"), *(real_data / "geojson").rglob("*.txt")]
    others += (real_data / "geojson" / "wsidicom" / "sectra").iterdir()
    assert len(others) >= 10
    for path in others:
        with pytest.raises(OverlayError, match="expected"):
            load_overlay(path)
