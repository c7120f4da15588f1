from __future__ import annotations

import gzip
import json
import logging
import uuid
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from label_maps import FIXED, label_maps, noise, without_ignored
from qupath_rules import check_overlay_file

from wsi_lpd.classes import QUPATH_CLASSES, TissueClass
from wsi_lpd.errors import OverlayError
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.geojson import Feature, place_metadata, region_features, write_overlay
from wsi_lpd.overlay.geometry_text import geometry_texts
from wsi_lpd.overlay.raster.rasterize import rasterize
from wsi_lpd.overlay.simplification.simplify import simplify_regions
from wsi_lpd.overlay.tracing.flat_rings import flat_rings
from wsi_lpd.overlay.tracing.trace import trace_regions
from wsi_lpd.qupath.read import load_overlay
from wsi_lpd.types import Size

TUMOR = QUPATH_CLASSES[0]
FRAME = GridFrame(3.7, 4.25, offset_x=100, offset_y=-31)
BOW_TIE = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])


def write_map(path: Path, label_map: np.ndarray, *, simplify: float = 0.0) -> int:
    regions = simplify_regions(trace_regions(label_map, background=True, frame=FRAME), simplify)
    measurements = [{"Predicted area um2": 0.25 * area_px} for area_px in regions.areas_px]
    features = region_features(regions, QUPATH_CLASSES, measurements=measurements)
    return write_overlay(path, features, slide="slide", metadata={"mpp": "0.5"})


def read_map(path: Path, shape: tuple[int, int]) -> np.ndarray:
    names = [c.name for c in QUPATH_CLASSES]
    annotations = load_overlay(path).annotations
    labels = [names.index(str(a.class_name)) + 1 for a in annotations]
    return rasterize([a.geometry for a in annotations], labels, shape, frame=FRAME)


@pytest.mark.parametrize("name", FIXED)
def test_write_overlay__rules_hold_and_the_map_comes_back(name, tmp_path):
    path = tmp_path / "o.geojson"
    n_written = write_map(path, FIXED[name])
    assert check_overlay_file(path) == []
    assert n_written == len(json.loads(path.read_text())["features"])
    np.testing.assert_array_equal(read_map(path, FIXED[name].shape), without_ignored(FIXED[name]))


@settings(max_examples=40)
@given(label_maps)
def test_write_overlay__any_map_comes_back(tmp_path_factory, label_map):
    path = tmp_path_factory.mktemp("overlay") / "o.geojson"
    write_map(path, label_map)
    assert check_overlay_file(path) == []
    np.testing.assert_array_equal(read_map(path, label_map.shape), without_ignored(label_map))


def test_write_overlay__rules_hold_after_simplification(tmp_path):
    path = tmp_path / "o.geojson"
    write_map(path, noise(300, 211, sigma=5, seed=8, speckles=0.01), simplify=1.5)
    assert check_overlay_file(path) == []


def test_write_overlay__one_compact_line_per_feature(tmp_path):
    path = tmp_path / "o.geojson"
    write_overlay(
        path,
        [
            Feature(shapely.box(-3, 0, 5, 12), TUMOR, {"Predicted area um2": 24.0}),
            Feature(shapely.box(0.25, 1.5, 2, 3), TissueClass("Fettgewebe ä", (1, 2, 3))),
        ],
        slide="S1",
        metadata={"model": "abc"},
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == '{"type":"FeatureCollection","metadata":{"model":"abc"},"features":['
    assert lines[1].startswith('{"type":"Feature","id":"')
    assert lines[1].endswith(
        '","geometry":{"type":"Polygon","coordinates":[[[5,0],[5,12],[-3,12],[-3,0],[5,0]]]},'
        '"properties":{"objectType":"annotation","name":"Tumor","classification":{"name":"Tumor","color":[200,0,0]},'
        '"measurements":{"Predicted area um2":24.0}}},'
    )
    assert '"coordinates":[[[2,1.50],[2,3],[0.25,3],[0.25,1.50],[2,1.50]]]' in lines[2]
    feature = json.loads(lines[2])
    assert feature["properties"] == {
        "objectType": "annotation",
        "name": "Fettgewebe ä",
        "classification": {"name": "Fettgewebe ä", "color": [1, 2, 3]},
    }
    assert lines[3:] == ["]}"]


def test_write_overlay__no_region_is_a_valid_empty_collection(tmp_path):
    path = tmp_path / "o.geojson"
    assert write_overlay(path, []) == 0
    assert json.loads(path.read_text()) == {"type": "FeatureCollection", "features": []}
    assert check_overlay_file(path) == []


def test_write_overlay__gzip_holds_the_same_and_is_the_same_each_time(tmp_path):
    plain, packed, again = tmp_path / "o.geojson", tmp_path / "o.geojson.gz", tmp_path / "p.geojson.gz"
    for path in (plain, packed, again):
        write_map(path, FIXED["blobs"])
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert packed.read_bytes() == again.read_bytes()
    assert check_overlay_file(packed) == []


def test_write_overlay__ids_are_stable_and_differ_by_slide_class_and_outline(tmp_path):
    def ids(slide: str, *features: Feature) -> list[str]:
        path = tmp_path / "o.geojson"
        write_overlay(path, features, slide=slide)
        return [f["id"] for f in json.loads(path.read_text())["features"]]

    a, b = Feature(shapely.box(0, 0, 5, 2), TUMOR), Feature(shapely.box(0, 0, 5, 3), TUMOR)
    other_class = Feature(shapely.box(0, 0, 5, 2), QUPATH_CLASSES[1])
    first, second = ids("S", a, b)
    assert ids("S", b, a) == [second, first]
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/wsi-lpd/wsi-lpd/overlay")
    outline = geometry_texts(flat_rings(np.array([a.geometry])))[0].decode()
    assert first == str(uuid.uuid5(namespace, f"S\nTumor\n{outline}"))
    assert len({first, second, *ids("T", a), *ids("S", other_class)}) == 4
    assert len(set(ids("S", a, a, a))) == 3
    fractional = Feature(shapely.box(0.25, 0, 5, 2), TUMOR)
    assert ids("S", fractional, a)[1] == first  # whatever else is written with it


def test_write_overlay__measurements_that_are_not_finite_are_left_out(tmp_path):
    path = tmp_path / "o.geojson"
    numbers = {"a": float("nan"), "b": float("inf"), "c": 0.0, "d": np.float32(1.5)}
    write_overlay(path, [Feature(shapely.box(0, 0, 5, 2), TUMOR, numbers)])
    assert json.loads(path.read_text())["features"][0]["properties"]["measurements"] == {"c": 0.0, "d": 1.5}
    assert check_overlay_file(path) == []


def test_write_overlay__one_part_is_written_as_polygon(tmp_path):
    path = tmp_path / "o.geojson"
    parts = shapely.MultiPolygon([shapely.box(0, 0, 5, 2)])
    write_overlay(path, [Feature(parts, TUMOR)])
    assert json.loads(path.read_text())["features"][0]["geometry"]["type"] == "Polygon"


def test_write_overlay__a_crossing_outline_is_repaired_and_reported(tmp_path, caplog):
    path = tmp_path / "o.geojson"
    with caplog.at_level(logging.WARNING):
        assert write_overlay(path, [Feature(BOW_TIE, TUMOR), Feature(shapely.box(0, 0, 3, 2), TUMOR)]) == 2
    assert check_overlay_file(path) == []
    assert load_overlay(path).annotations[0].geometry.area == 50
    assert "Tumor at (0, 0)" in caplog.text
    assert "repaired" in caplog.text


@pytest.mark.parametrize(
    "vanishing", [shapely.Polygon([(0, 0), (9, 0), (0, 0)]), shapely.box(5, 5, 5.003, 9), shapely.Polygon()]
)
def test_write_overlay__what_vanishes_is_dropped_and_reported(vanishing, tmp_path, caplog):
    path = tmp_path / "o.geojson"
    with caplog.at_level(logging.WARNING):
        assert write_overlay(path, [Feature(vanishing, TUMOR), Feature(shapely.box(0, 0, 3, 2), TUMOR)]) == 1
    assert check_overlay_file(path) == []
    assert "not in the overlay" in caplog.text


def test_write_overlay__an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "o.geojson"
    write_overlay(path, [Feature(shapely.box(0, 0, 3, 2), TUMOR)])
    before = path.read_bytes()
    with pytest.raises(OverlayError, match="colon"):
        write_overlay(path, [Feature(shapely.box(0, 0, 3, 2), TissueClass("A: B", (0, 0, 0)))])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["o.geojson"]


@pytest.mark.parametrize("name", ["mask.json", "mask.txt", "mask", "mask.geojson.zip"])
def test_write_overlay__refuses_a_name_that_qupath_would_not_read(name, tmp_path):
    with pytest.raises(OverlayError, match=r"\.geojson"):
        write_overlay(tmp_path / name, [])


def test_write_overlay__takes_a_generator_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("wsi_lpd.overlay.geojson._FEATURES_AT_ONCE", 3)
    path = tmp_path / "o.geojson"
    n_written = write_overlay(path, (Feature(shapely.box(i, 0, i + 1, 3), TUMOR) for i in range(10)))
    assert n_written == len(load_overlay(path).annotations) == 10
    assert check_overlay_file(path) == []


def test_place_metadata__comes_back(tmp_path):
    path = tmp_path / "o.geojson"
    place = place_metadata(slide_px=Size(4000, 3000), frame=FRAME, classes=QUPATH_CLASSES[:2])
    write_overlay(path, [], metadata=place)
    assert load_overlay(path).metadata == place
    assert place["offset_x_px"] == "100"
    assert json.loads(place["classes"]) == ["Tumor", "Stroma"]


@given(
    st.lists(
        st.tuples(st.integers(-(10**7), 10**7), st.integers(-(10**7), 10**7)), min_size=3, max_size=9, unique=True
    ),
    st.sampled_from([1, 2, 4, 100]),
)
def test_geometry_texts__numbers_are_written_exactly(points, fraction):
    polygon = shapely.Polygon(np.array(points) / fraction)
    written = json.loads(geometry_texts(flat_rings(np.array([polygon])))[0])
    np.testing.assert_allclose(written["coordinates"][0], shapely.get_coordinates(polygon), rtol=0, atol=1e-9)


def test_write_overlay__a_colour_may_be_a_list_as_json_has_it(tmp_path):
    path = tmp_path / "o.geojson"
    write_overlay(path, [Feature(shapely.box(0, 0, 5, 2), TissueClass("Fat", [255, 200, 0]))])
    assert json.loads(path.read_text())["features"][0]["properties"]["classification"]["color"] == [255, 200, 0]
