"""One QuPath file means the same to labels, tissue mask and evaluation: frame, classes, sub-classes, nesting."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import shapely

from wsi_lpd.classes import TissueClass
from wsi_lpd.config import TileConfig, TissueConfig
from wsi_lpd.errors import OverlayError, SlideError
from wsi_lpd.evaluation.align import align_classes, on_one_grid
from wsi_lpd.evaluation.read import CODINGS, read_source
from wsi_lpd.labels.annotations import area_fractions
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.geojson import place_metadata
from wsi_lpd.qupath.classes import kind_of
from wsi_lpd.qupath.regions import read_regions
from wsi_lpd.slide import find_tissue, open_slide
from wsi_lpd.types import Box, Size

WIDTH, HEIGHT = 1200, 900
BOUNDS = Box(240, 120, 900, 700)
TILE = TileConfig()

DRAWN = (
    ("Region*", (0, 0, 860, 660)),
    ({"names": ["Tumor", "Positive"]}, (20, 20, 420, 320)),
    ("Stroma", (100, 60, 260, 200)),  # inside the tumour
    ("Ignore*", (120, 80, 180, 140)),  # inside the stroma
    ("Tumor: Negative", (500, 40, 700, 240)),
    ("Pen mark*", (620, 160, 820, 300)),  # over a corner of the tumour
    ("Tumor", (40, 400, 240, 560)),
    (None, (300, 420, 460, 600)),
)
"""Class and rectangle (left, top, right, bottom), as QuPath shows the slide."""
TUMOR = 400 * 300 - 160 * 140 + 200 * 200 - 80 * 80 + 200 * 160
STROMA = 160 * 140 - 60 * 60
EXPECTED = {"Tumor": TUMOR, "Stroma": STROMA}
REGION = 860 * 660
TISSUE = REGION - 60 * 60 - 200 * 140
"""All but what is ignored; the outline without a class lies in the region."""


def document(*, origin=None, shift=(0, 0)):
    features = []
    for name, (left, top, right, bottom) in DRAWN:
        shape = shapely.box(left + shift[0], top + shift[1], right + shift[0], bottom + shift[1])
        named = {"name": name} if isinstance(name, str) else name
        classification = {} if named is None else {"classification": {**named, "color": [9, 8, 7]}}
        geometry = shapely.geometry.mapping(shape)
        features.append(
            {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **classification}}
        )
    return {"type": "FeatureCollection", "features": features, **({"metadata": {"origin": origin}} if origin else {})}


@pytest.fixture
def slide(write_slide):
    pixels = np.random.default_rng(3).integers(90, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    with open_slide(write_slide(pixels)) as slide:
        yield slide


@pytest.fixture(params=["as shown, bounds", "level 0, bounds", "no bounds", "nested children", "gzip, bare list"])
def case(request, slide, tmp_path):
    """The slide and a file of the same areas of level 0, told in different ways."""
    slide.bounds = None if request.param == "no bounds" else BOUNDS
    at_level0 = request.param in ("level 0, bounds", "no bounds")
    text = document(
        origin="level0" if request.param == "level 0, bounds" else None, shift=BOUNDS[:2] if at_level0 else (0, 0)
    )
    if request.param == "nested children":
        first, *rest = text["features"]
        first["properties"]["childObjects"] = rest
        text["features"] = [first]
    path = tmp_path / "drawn.geojson"
    if request.param == "gzip, bare list":
        path = tmp_path / "drawn.geojson.gz"
        path.write_bytes(gzip.compress(json.dumps(text["features"]).encode()))
    else:
        path.write_text(json.dumps(text))
    return slide, path


def test_annotations__have_the_areas_at_level_0(case):
    slide, path = case
    areas = read_regions(path, slide_px=slide.size_px, bounds=slide.bounds).classes()
    assert {name: shapely.union_all(g).area for name, g in areas.items()} == EXPECTED
    patch = np.array([[BOUNDS.x + 100, BOUNDS.y + 60, 160, 140]])
    assert area_fractions(areas["Stroma"], patch)[0] == pytest.approx(STROMA / (160 * 140))
    assert area_fractions(areas["Tumor"], patch)[0] == 0


def test_a_tissue_mask__is_all_but_what_is_ignored(case):
    slide, path = case
    tissue = find_tissue(slide, TissueConfig(mask=path, mpp=slide.mpp * 2))
    assert tissue.area_px == pytest.approx(TISSUE, rel=0.01)
    left, top = BOUNDS[:2]
    assert tissue.fraction(Box(left + 124, top + 84, 50, 50)) == 0, "Ignore*"
    assert tissue.fraction(Box(left + 700, top + 200, 100, 80)) == 0, "Pen mark*"
    assert tissue.fraction(Box(left + 20, top + 340, 400, 40)) == pytest.approx(1, abs=0.02), "Region*"
    assert tissue.fraction(Box(0, 0, left - 4, 900)) == 0


def test_evaluation__counts_the_same_pixels(case, tmp_path):
    slide, path = case
    offset = (0, 0) if slide.bounds is None else slide.bounds[:2]
    frame = GridFrame(2.0, 2.0, *offset)
    place = place_metadata(
        slide_px=Size(WIDTH, HEIGHT), frame=frame, classes=[TissueClass(n, (1, 2, 3)) for n in EXPECTED]
    )
    ours = {"type": "FeatureCollection", "metadata": place, "features": document()["features"][1:3]}
    (tmp_path / "ours.geojson").write_text(json.dumps(ours))
    prediction, truth = (read_source(p, CODINGS["index"]) for p in (tmp_path / "ours.geojson", path))
    names = align_classes(prediction, truth, None)
    assert set(names.classes) == set(EXPECTED)
    _, true, grid = on_one_grid(prediction, truth, names, None)
    assert grid.shape == (HEIGHT // 2, WIDTH // 2)
    found = {name: int((true == i + 1).sum()) * 4 for i, name in enumerate(names.classes)}
    assert found == pytest.approx(EXPECTED, rel=0.01)
    assert int((true == 255).sum()) * 4 == pytest.approx(60 * 60 + 200 * 140, rel=0.02), "not judged"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Tumor", "class"), ("Tumor: Positive", "class"), ("Ignore*", "ignored"), ("ignore*", "ignored"),
     ("Necrosis*", "ignored"), ("Ignore*: pen", "ignored"), ("Region*", "outline"), ("region*", "outline"),
     ("Region* 2", "class"), (None, "outline"), ("Regional node", "class"), ("Ignored", "class")],
)  # fmt: skip
def test_kind_of__each_class(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize("shift", [(-2000, 0), (5000, 40), (0, -3000), (0, 950)])
def test_areas_beside_the_slide__are_refused_by_all(slide, tmp_path, shift):
    path = tmp_path / "elsewhere.geojson"
    path.write_text(json.dumps(document(shift=shift)))
    with pytest.raises(OverlayError, match=r"all outside the slide of 1200 x 900 px"):
        read_regions(path, slide_px=slide.size_px, bounds=None)
    with pytest.raises(SlideError, match=r"tissue mask .*all outside the slide"):
        find_tissue(slide, TissueConfig(mask=path))


BAD = {
    "NaN": "[[[0,0],[NaN,0],[5,5],[0,0]]]",
    "null": "[[[0,0],[null,0],[5,5],[0,0]]]",
    "an empty shell with a hole": "[[],[[1,1],[2,1],[2,2],[1,1]]]",
    "two positions": "[[[0,0],[5,5]]]",
    "a huge whole number": f"[[[0,0],[{'9' * 400},0],[5,5],[0,0]]]",
    "text": '[[["a","b"],["c","d"],["e","f"],["a","b"]]]',
    "no list": "7",
}


@pytest.mark.parametrize("what", BAD)
def test_bad_geometry__is_one_line_with_its_feature(tmp_path, what):
    good = '{"type":"Feature","properties":{},"geometry":{"type":"Polygon","coordinates":[[[0,0],[9,0],[9,5],[0,0]]]}}'
    bad = f'{{"type":"Feature","properties":{{}},"geometry":{{"type":"Polygon","coordinates":{BAD[what]}}}}}'
    path = tmp_path / "a.geojson"
    path.write_text(f"[{good},{bad}]")
    with pytest.raises(OverlayError, match=r"a\.geojson: feature 2: ") as error:
        read_regions(path, slide_px=Size(100, 100), bounds=None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("color", ["[NaN, 1, 2]", "[1e400, 0, 0]", f"[{'9' * 50}, 0, 0]", '["a", 1, 2]', "null"])
def test_an_impossible_colour__is_passed_over(tmp_path, color):
    path = tmp_path / "a.geojson"
    path.write_text(
        '[{"type":"Feature","properties":{"classification":{"name":"Tumor","color":' + color + "}},"
        '"geometry":{"type":"Polygon","coordinates":[[[0,0],[9,0],[9,5],[0,0]]]}}]'
    )
    assert list(read_regions(path, slide_px=Size(100, 100), bounds=None).classes()) == ["Tumor"]


def test_a_gzip_bomb__is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("wsi_lpd.qupath.read._MOST_BYTES", 10_000)
    path = tmp_path / "bomb.geojson.gz"
    path.write_bytes(gzip.compress(b"[" + b" " * 5_000_000 + b"]"))
    with pytest.raises(OverlayError, match="expected at most 10,000"):
        read_regions(path, slide_px=Size(10, 10), bounds=None)
