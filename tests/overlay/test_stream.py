from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from label_maps import FIXED, label_maps, noise, strip_heights, strips_of, without_ignored
from qupath_rules import check_overlay_file

from wsi_lpd.classes import QUPATH_CLASSES, TissueClass
from wsi_lpd.errors import OverlayError
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.rasterize import rasterize
from wsi_lpd.overlay.stream import write_streamed_overlay
from wsi_lpd.qupath.read import load_overlay

FRAME = GridFrame(3.7, 4.25, offset_x=100, offset_y=-31)
NAMES = [c.name for c in QUPATH_CLASSES]
MAP = noise(200, 131, sigma=4, seed=8, speckles=0.005)


def write(path, label_map, heights, **options):
    strips = strips_of(label_map, heights, n_classes=len(NAMES))
    return write_streamed_overlay(
        path,
        lambda: strips,
        **{"classes": QUPATH_CLASSES, "frame": FRAME, "pixel_area_um2": 0.25, "slide": "S", **options},
    )


def assert_comes_back(path, label_map):
    assert check_overlay_file(path) == []
    found = load_overlay(path).annotations
    again = rasterize(
        [a.geometry for a in found], [NAMES.index(a.class_name) + 1 for a in found], label_map.shape, frame=FRAME
    )
    np.testing.assert_array_equal(again, without_ignored(label_map))


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("name", FIXED)
def test_write_streamed_overlay__rules_hold_and_the_map_comes_back(name, merge, tmp_path):
    path = tmp_path / "o.geojson"
    done = write(path, FIXED[name], [3, 1], merge=merge, strip_rows=4)
    assert_comes_back(path, FIXED[name])
    features = json.loads(path.read_text())["features"]
    assert done.n_features == len(features)
    counts = np.bincount(FIXED[name].ravel(), minlength=256)
    assert done.areas_px == {NAMES[v - 1]: counts[v] for v in range(1, 255) if counts[v]}
    assert set(done.area_errors.values()) <= {0.0}


@settings(max_examples=40)
@given(label_maps, strip_heights)
def test_write_streamed_overlay__any_map_comes_back(tmp_path_factory, label_map, heights):
    path = tmp_path_factory.mktemp("overlay") / "o.geojson"
    write(path, label_map, heights, strip_rows=3)
    assert_comes_back(path, label_map)


@settings(max_examples=40)
@given(label_maps, strip_heights)
def test_write_streamed_overlay__merged_there_is_one_geometry_per_class(tmp_path_factory, label_map, heights):
    path = tmp_path_factory.mktemp("overlay") / "o.geojson"
    write(path, label_map, heights, strip_rows=3, merge=True)
    assert_comes_back(path, label_map)
    names = [feature["properties"]["name"] for feature in json.loads(path.read_text())["features"]]
    assert names == [NAMES[label - 1] for label in np.unique(label_map).tolist() if 0 < label < 255]


@pytest.mark.parametrize("merge", [False, True])
def test_write_streamed_overlay__does_not_depend_on_how_the_map_comes(merge, tmp_path):
    paths = [tmp_path / f"{n}.geojson" for n in range(3)]
    for path, heights in zip(paths, ([1], [37, 80], [200]), strict=True):
        write(path, MAP, heights, tolerance_px=1.5, strip_rows=64, merge=merge)
        assert check_overlay_file(path) == []
    assert paths[0].read_bytes() == paths[1].read_bytes() == paths[2].read_bytes()


def test_write_streamed_overlay__merged_measurements_are_of_the_whole_class(tmp_path):
    apart, merged = tmp_path / "a.geojson", tmp_path / "m.geojson"
    write(apart, MAP, [50])
    write(merged, MAP, [50], merge=True, strip_rows=64)
    rows = {}
    for path in (apart, merged):
        for feature in json.loads(path.read_text())["features"]:
            rows.setdefault((path, feature["properties"]["name"]), []).append(feature["properties"]["measurements"])
    for name in NAMES[:4]:
        (whole,), parts = rows[merged, name], rows[apart, name]
        areas = [row["Predicted area um2"] for row in parts]
        assert len(parts) > 1
        assert whole["Predicted area um2"] == sum(areas)
        mean = np.average([row["Mean probability"] for row in parts], weights=areas)
        assert whole["Mean probability"] == pytest.approx(mean, abs=1e-4)


def test_write_streamed_overlay__counts_and_errors_are_those_of_the_file(tmp_path):
    path = tmp_path / "o.geojson"
    done = write(path, MAP, [50], tolerance_px=2.0, strip_rows=64, metadata={"tool": "wsi-lpd"})
    overlay = load_overlay(path)
    assert done.n_vertices == sum(shapely.get_num_coordinates(a.geometry) for a in overlay.annotations)
    assert overlay.metadata == {"tool": "wsi-lpd", "outline_tolerance_px": "2"}
    exact = tmp_path / "e.geojson"
    write(exact, MAP, [50])
    areas = [
        {name: sum(a.geometry.area for a in load_overlay(p).annotations if a.class_name == name) for name in NAMES[:4]}
        for p in (exact, path)
    ]
    assert done.area_errors == pytest.approx({name: abs(areas[1][name] / areas[0][name] - 1) for name in NAMES[:4]})
    assert 0 < max(done.area_errors.values()) <= 0.005


def test_write_streamed_overlay__a_limit_of_vertices_is_kept_and_reported(tmp_path):
    path = tmp_path / "o.geojson"
    limit = write(path, MAP, [50], tolerance_px=1.0, strip_rows=64).n_vertices * 3 // 5
    done = write(path, MAP, [50], tolerance_px=1.0, strip_rows=64, max_vertices=limit)
    overlay = load_overlay(path)
    assert sum(shapely.get_num_coordinates(a.geometry) for a in overlay.annotations) == done.n_vertices <= limit
    assert check_overlay_file(path) == []
    assert done.tolerance_px > 1
    assert overlay.metadata["max_vertices"] == str(limit)
    assert float(overlay.metadata["outline_tolerance_px"]) == pytest.approx(done.tolerance_px, rel=1e-5)
    assert float(overlay.metadata["outline_area_error"]) == pytest.approx(max(done.area_errors.values()), rel=1e-5)


def test_write_streamed_overlay__an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "o.geojson"
    write(path, MAP, [50])
    before = path.read_bytes()

    def fails():
        yield from strips_of(MAP, [50], n_classes=len(NAMES))[:2]
        raise OverlayError("no more")

    with pytest.raises(OverlayError, match="no more"):
        write_streamed_overlay(path, fails, QUPATH_CLASSES, frame=FRAME, pixel_area_um2=1.0, strip_rows=20)
    colon = [TissueClass("A: B", (0, 0, 0))] * len(NAMES)
    with pytest.raises(OverlayError, match="colon"):
        write(path, MAP, [50], classes=colon, strip_rows=20)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["o.geojson"]


def test_write_streamed_overlay__no_region_is_a_valid_empty_collection(tmp_path):
    path = tmp_path / "o.geojson"
    for merge in (False, True):
        done = write(path, np.zeros((5, 3), np.uint8), [2], merge=merge, tolerance_px=1.0)
        assert (done.n_features, done.n_vertices, done.areas_px) == (0, 0, {})
        assert check_overlay_file(path) == []
