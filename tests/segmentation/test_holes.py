"""`segment.min_hole_um2`: holes in a tissue, filled in the overlay that is written."""

import json
from pathlib import Path

import numpy as np
import pytest
from colour_predictor import WHITE, ColourPredictor, landmarks
from shapely.geometry import Point, shape

from wsi_lpd.config import SegmentConfig, TissueConfig
from wsi_lpd.segmentation.job import SegmentJob
from wsi_lpd.segmentation.outputs import Outputs

SMALL, LARGE = (300, 220, 60, 50), (720, 520, 200, 140)  # x, y, width, height in px; one in red, one in blue
UM_PER_PX = 0.5


@pytest.fixture
def slide_path(write_slide):
    image = landmarks()
    for x, y, width, height in (SMALL, LARGE):
        image[y : y + height, x : x + width] = WHITE
    return write_slide(image)


def is_covered(slide_path, folder, hole, **settings):
    config = SegmentConfig(gate="none", tissue=TissueConfig(preset="everything"), **settings)
    outputs = Outputs(folder / "map.geojson", None, None)
    SegmentJob(ColourPredictor(mpp=UM_PER_PX), Path("run"), config).run(str(slide_path), outputs, overwrite=True)
    features = json.loads(outputs.overlay.read_text(encoding="utf-8"))["features"]
    x, y, width, height = hole
    middle = Point(x + width / 2, y + height / 2)
    return any(shape(feature["geometry"]).contains(middle) for feature in features)


def test_holes__are_filled_up_to_the_size_asked_for(tmp_path, slide_path):
    small_um2, large_um2 = (np.prod(hole[2:]) * UM_PER_PX**2 for hole in (SMALL, LARGE))
    assert small_um2 > SegmentConfig().min_area_um2
    for least, small, large in ((None, False, False), (small_um2 * 1.3, True, False), (large_um2 * 1.3, True, True)):
        assert is_covered(slide_path, tmp_path, SMALL, min_hole_um2=least) is small
        assert is_covered(slide_path, tmp_path, LARGE, min_hole_um2=least) is large
    assert is_covered(slide_path, tmp_path, SMALL, min_area_um2=small_um2 * 1.3)  # what holes follow unless told
