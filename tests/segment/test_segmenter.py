"""A slide is read, looked at and stitched in the right place, whatever its scale, edges and window grid."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from wsi_lpd.config import SegmentConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.models.card import CardClass
from wsi_lpd.segment.bands import ahead
from wsi_lpd.segment.segmenter import map_stride, segment_slide
from wsi_lpd.segment.stitch import WindowMaps
from wsi_lpd.slide import TissueMask, open_slide

RED, BLUE, WHITE = (200, 60, 90), (70, 60, 170), (250, 250, 250)


class ColourPredictor:
    """A network that sees colours: class 1 is red, class 2 blue, white is background."""

    def __init__(self, *, mpp=0.5, patch_px=64, constant=None):
        classes = tuple(CardClass(name=n, color=c) for n, c in (("Tumor", (200, 0, 0)), ("Stroma", (150, 200, 150))))
        self.card = SimpleNamespace(mpp=mpp, patch_px=patch_px, classes=classes)
        self.window_px = patch_px
        self.cell_px = 16
        self.constant = constant
        self.n_seen = 0
        self.refinements = set()

    def predict(self, windows, *, output_stride, views=1, refinement="none"):
        self.n_seen += len(windows)
        self.refinements.add(refinement)
        return [self._maps(window.astype(np.float32), output_stride) for window in windows]

    def _maps(self, window, stride):
        side = window.shape[0] // stride
        cells = cv2.resize(window, (side, side), interpolation=cv2.INTER_AREA)
        logits = [-np.abs(cells - np.array(colour, np.float32)).sum(-1) / 20 for colour in (WHITE, RED, BLUE)]
        if self.constant is not None:
            logits = [np.full((side, side), value, np.float32) for value in self.constant]
        present = np.array([0.9, 0.8], np.float32)
        return WindowMaps(np.stack(logits).astype(np.float32), present, np.ones((2, side, side), np.uint8))


def everywhere(slide):
    return TissueMask(np.ones((5, 7), bool), slide.size_px.width / 7, slide.size_px.height / 5)


def landmarks():
    """Red on white, with a blue bar and a red speck off every line of symmetry; (820, 1300, 3)."""
    image = np.full((820, 1300, 3), WHITE, np.uint8)
    image[120:400, 60:900] = RED
    image[330:800, 640:1270] = BLUE
    image[600:680, 100:190] = RED
    return image


def expected(result, image):
    """The label map that the picture asks for, at the centres of the map's pixels."""
    height, width = result.labels.shape
    y = ((np.arange(height) + 0.5) * result.downsample).astype(int).clip(max=image.shape[0] - 1)
    x = ((np.arange(width) + 0.5) * result.downsample).astype(int).clip(max=image.shape[1] - 1)
    pixels = image[y[:, None], x[None]].astype(int)
    return np.argmin([np.abs(pixels - np.array(c)).sum(-1) for c in (WHITE, RED, BLUE)], axis=0)


@pytest.mark.parametrize("model_mpp", [0.5, 0.61, 1.0])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_the_map__lies_where_the_picture_does(write_slide, model_mpp, overlap):
    image = landmarks()
    with open_slide(write_slide(image)) as slide:
        predictor = ColourPredictor(mpp=model_mpp)
        config = SegmentConfig(overlap=overlap, batch_size=5)
        result = segment_slide(slide, everywhere(slide), predictor, config)
    wrong = result.labels != expected(result, image)
    outlines = cv2.dilate(
        (cv2.Laplacian(expected(result, image).astype(np.uint8), cv2.CV_8U) > 0).astype(np.uint8), np.ones((3, 3))
    )
    assert not (wrong & (outlines == 0)).any(), "away from outlines every pixel is right"
    assert result.labels.shape[0] * result.downsample == pytest.approx(820, abs=result.downsample)
    assert result.labels.shape[1] * result.downsample == pytest.approx(1300, abs=result.downsample)
    assert set(np.unique(result.prototypes)) == {1, 255}


@pytest.mark.parametrize("offset", [0, 12, 32])
def test_the_map__does_not_depend_on_where_the_window_grid_starts(write_slide, offset):
    image = landmarks()
    with open_slide(write_slide(image)) as slide:
        plain, moved = (
            segment_slide(slide, everywhere(slide), ColourPredictor(), SegmentConfig(grid_offset_px=o))
            for o in (0, offset)
        )
    np.testing.assert_array_equal(plain.labels, moved.labels)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_a_constant_network__gives_one_label_and_one_probability_everywhere(write_slide, overlap):
    with open_slide(write_slide(landmarks())) as slide:
        predictor = ColourPredictor(constant=(0.3, 0.2, 1.7))
        result = segment_slide(slide, everywhere(slide), predictor, SegmentConfig(overlap=overlap, gate="none"))
    share = np.exp([0.3, 0.2, 1.7]) / np.exp([0.3, 0.2, 1.7]).sum()
    assert (result.labels == 2).all()
    for plane, value in zip(result.probabilities, share, strict=True):
        assert (plane == round(value * 255)).all()


def test_only_windows_with_tissue__are_looked_at(write_slide):
    mask = np.zeros((82, 130), bool)
    mask[20:30, 70:80] = True
    with open_slide(write_slide(landmarks())) as slide:
        predictor = ColourPredictor()
        result = segment_slide(slide, TissueMask(mask, 10.0, 10.0), predictor, SegmentConfig(overlap=0.5))
    inside = result.labels > 0
    # Steps of 24 px: 7 windows of 64 px meet x = 700 to 800, and 7 meet y = 200 to 300.
    assert predictor.n_seen == result.n_windows == 7 * 7
    assert inside.any()
    rows, columns = np.nonzero(inside)
    assert rows.min() * result.downsample >= 200 - result.downsample
    assert (rows.max() + 1) * result.downsample <= 300 + result.downsample
    assert columns.min() * result.downsample >= 700 - result.downsample
    assert (result.probabilities[0][~inside] == 255).all()


@pytest.mark.parametrize("refine", ["none", "guided"])
def test_the_refinement__is_the_one_that_was_asked_for(write_slide, refine):
    with open_slide(write_slide(landmarks())) as slide:
        predictor = ColourPredictor()
        segment_slide(slide, everywhere(slide), predictor, SegmentConfig(refine=refine))
    assert predictor.refinements == {refine}


def test_a_slide_without_tissue__gives_an_empty_map_and_no_call(write_slide):
    with open_slide(write_slide(landmarks())) as slide:
        predictor = ColourPredictor()
        empty = TissueMask(np.zeros((8, 13), bool), 100.0, 102.5)
        result = segment_slide(slide, empty, predictor, SegmentConfig())
    assert predictor.n_seen == 0
    assert not result.labels.any()


def test_a_slide_coarser_than_the_model__is_refused_unless_asked_for(write_slide):
    with open_slide(write_slide(landmarks()), mpp=2.0) as slide:
        with pytest.raises(SlideError, match=r"2 um per pixel, the model expects 0\.5.*--allow-upsampling"):
            segment_slide(slide, everywhere(slide), ColourPredictor(), SegmentConfig())
        config = SegmentConfig(allow_upsampling=True, output_stride=1)
        result = segment_slide(slide, everywhere(slide), ColourPredictor(), config)
        assert map_stride(slide, ColourPredictor(), config) == 4
    assert result.downsample == pytest.approx(1.0)
    np.testing.assert_array_equal(result.labels[::7, ::7], expected(result, landmarks())[::7, ::7])


def test_working_ahead__keeps_order_and_passes_errors_on():
    def numbers():
        yield from range(5)
        raise ValueError("the sixth")

    source = ahead(numbers())
    assert [next(source) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the sixth"):
        next(source)
