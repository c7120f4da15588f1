"""A slide is read, looked at and stitched in the right place, whatever its scale, edges and window grid."""

import threading

import cv2
import numpy as np
import pytest
from colour_predictor import BLUE, RED, WHITE, ColourPredictor, everywhere, landmarks, whole_map

from wsi_lpd.config import SegmentConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.segmentation.plan import map_stride
from wsi_lpd.slide import TissueMask, open_slide


def expected(plan, image):
    """The label map that the picture asks for, at the centres of the map's pixels."""
    height, width = plan.strips.height, plan.strips.width
    y = ((np.arange(height) + 0.5) * plan.downsample).astype(int).clip(max=image.shape[0] - 1)
    x = ((np.arange(width) + 0.5) * plan.downsample).astype(int).clip(max=image.shape[1] - 1)
    pixels = image[y[:, None], x[None]].astype(int)
    return np.argmin([np.abs(pixels - np.array(c)).sum(-1) for c in (WHITE, RED, BLUE)], axis=0)


@pytest.mark.parametrize("model_mpp", [0.5, 0.61, 1.0])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_the_map__lies_where_the_picture_does(write_slide, model_mpp, overlap):
    image = landmarks()
    with open_slide(write_slide(image)) as slide:
        predictor = ColourPredictor(mpp=model_mpp)
        config = SegmentConfig(overlap=overlap, batch_size=5)
        plan, result = whole_map(slide, everywhere(slide), predictor, config)
    wrong = result.labels != expected(plan, image)
    outlines = cv2.dilate(
        (cv2.Laplacian(expected(plan, image).astype(np.uint8), cv2.CV_8U) > 0).astype(np.uint8), np.ones((3, 3))
    )
    assert not (wrong & (outlines == 0)).any(), "away from outlines every pixel is right"
    assert result.labels.shape[0] * plan.downsample == pytest.approx(820, abs=plan.downsample)
    assert result.labels.shape[1] * plan.downsample == pytest.approx(1300, abs=plan.downsample)
    assert set(np.unique(result.prototypes)) == {1, 255}


@pytest.mark.parametrize("offset", [0, 12, 32])
def test_the_map__does_not_depend_on_where_the_window_grid_starts(write_slide, offset):
    image = landmarks()
    with open_slide(write_slide(image)) as slide:
        plain, moved = (
            whole_map(slide, everywhere(slide), ColourPredictor(), SegmentConfig(grid_offset_px=o))[1]
            for o in (0, offset)
        )
    np.testing.assert_array_equal(plain.labels, moved.labels)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_a_constant_network__gives_one_label_and_one_probability_everywhere(write_slide, overlap):
    with open_slide(write_slide(landmarks())) as slide:
        predictor = ColourPredictor(constant=(0.3, 0.2, 1.7))
        _, result = whole_map(slide, everywhere(slide), predictor, SegmentConfig(overlap=overlap, gate="none"))
    share = np.exp([0.3, 0.2, 1.7]) / np.exp([0.3, 0.2, 1.7]).sum()
    assert (result.labels == 2).all()
    for plane, value in zip(result.probabilities, share, strict=True):
        assert (plane == round(value * 255)).all()


def test_only_windows_with_tissue__are_looked_at(write_slide):
    mask = np.zeros((82, 130), bool)
    mask[20:30, 70:80] = True
    with open_slide(write_slide(landmarks())) as slide:
        predictor = ColourPredictor()
        plan, result = whole_map(slide, TissueMask(mask, 10.0, 10.0), predictor, SegmentConfig(overlap=0.5))
    inside = result.labels > 0
    # Steps of 24 px: 7 windows of 64 px meet x = 700 to 800, and 7 meet y = 200 to 300.
    assert predictor.n_seen == len(plan.places) == 7 * 7
    assert inside.any()
    rows, columns = np.nonzero(inside)
    assert rows.min() * plan.downsample >= 200 - plan.downsample
    assert (rows.max() + 1) * plan.downsample <= 300 + plan.downsample
    assert columns.min() * plan.downsample >= 700 - plan.downsample
    assert (result.probabilities[0][~inside] == 255).all()


@pytest.mark.parametrize("refine", ["none", "guided"])
def test_the_refinement__is_the_one_that_was_asked_for(write_slide, refine):
    with open_slide(write_slide(landmarks())) as slide:
        predictor = ColourPredictor()
        whole_map(slide, everywhere(slide), predictor, SegmentConfig(refine=refine))
    assert predictor.refinements == {refine}


def test_a_slide_without_tissue__gives_an_empty_map_and_no_call(write_slide):
    with open_slide(write_slide(landmarks())) as slide:
        predictor = ColourPredictor()
        empty = TissueMask(np.zeros((8, 13), bool), 100.0, 102.5)
        _, result = whole_map(slide, empty, predictor, SegmentConfig())
    assert predictor.n_seen == 0
    assert not result.labels.any()


def test_a_slide_coarser_than_the_model__is_refused_unless_asked_for(write_slide):
    with open_slide(write_slide(landmarks()), mpp=2.0) as slide:
        with pytest.raises(SlideError, match=r"2 um per pixel, the model expects 0\.5.*--allow-upsampling"):
            whole_map(slide, everywhere(slide), ColourPredictor(), SegmentConfig())
        config = SegmentConfig(allow_upsampling=True, output_stride=1)
        plan, result = whole_map(slide, everywhere(slide), ColourPredictor(), config)
        assert map_stride(slide, ColourPredictor(), config) == 4
    assert plan.downsample == pytest.approx(1.0)
    np.testing.assert_array_equal(result.labels[::7, ::7], expected(plan, landmarks())[::7, ::7])


def test_reading_and_network__work_at_the_same_time(write_slide):
    with open_slide(write_slide(landmarks())) as slide:
        beyond = threading.Event()
        read = slide.read

        def seen(box, size_px):
            if box.y > 300:
                beyond.set()
            return read(box, size_px)

        class Waiting(ColourPredictor):
            def predict(self, windows, **options):
                assert beyond.wait(10), "the windows of the next batches are not read meanwhile"
                return super().predict(windows, **options)

        slide.read = seen
        _, result = whole_map(slide, everywhere(slide), Waiting(), SegmentConfig(batch_size=300))
    assert result.labels.any()
