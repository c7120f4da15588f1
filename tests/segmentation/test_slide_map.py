"""Where the network looks: the tissue that was found, and a margin in which a model that knows background decides."""

import cv2
import numpy as np
import pytest
from colour_predictor import RED, WHITE, ColourPredictor

from wsi_lpd.config import SegmentConfig
from wsi_lpd.segmentation.slide_map import SlideMap
from wsi_lpd.slide import find_tissue, open_slide

CONFIG = SegmentConfig()
MPP = 1.0


def blot():
    """A red blot on white, fading out towards its upper edge; (700, 1100, 3)."""
    image = np.full((700, 1100, 3), WHITE, np.uint8)
    image[200:520, 300:860] = RED
    shade = np.linspace(0, 1, 40)[:, None, None]
    image[160:200, 300:860] = ((1 - shade) * WHITE + shade * RED).astype(np.uint8)
    return image


@pytest.fixture
def slide(write_slide):
    with open_slide(write_slide(blot()), mpp=MPP) as opened:
        yield opened


def planned(slide, predictor, **settings):
    slide_map = SlideMap.planned(slide, predictor, CONFIG.model_copy(update=settings))
    np.testing.assert_array_equal(slide_map.found.mask, find_tissue(slide, slide_map.config.tissue).mask)
    return slide_map.tissue.mask


def test_a_model_that_knows_background__looks_beyond_the_tissue_that_was_found(slide):
    found = find_tissue(slide, CONFIG.tissue).mask
    wide = planned(slide, ColourPredictor(mpp=MPP), tissue_margin_um=24.0)
    distance = cv2.distanceTransform((~found).astype(np.uint8), cv2.DIST_L2, 5) * 8  # um; a mask pixel is 8 um
    assert wide[found].all()
    assert wide[distance <= 16].all()
    assert not wide[distance > 32].any()
    np.testing.assert_array_equal(planned(slide, ColourPredictor(mpp=MPP), tissue_margin_um=0.0), found)


def test_a_model_that_names_a_class_everywhere__stays_in_the_tissue(slide):
    found = find_tissue(slide, CONFIG.tissue).mask
    np.testing.assert_array_equal(planned(slide, ColourPredictor(mpp=MPP, knows_background=False)), found)


def test_a_mask_that_was_given__is_kept_to(slide, tmp_path):
    given = np.zeros((70, 110), np.uint8)
    given[30:50, 45:52] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), given)
    tissue = CONFIG.tissue.model_copy(update={"mask": tmp_path / "mask.png"})
    kept = planned(slide, ColourPredictor(mpp=MPP), tissue=tissue)
    np.testing.assert_array_equal(kept, find_tissue(slide, tissue).mask)
    assert kept.any()
