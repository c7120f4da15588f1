from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from wsi_lpd.classes import QUPATH_CLASSES
from wsi_lpd.errors import LabelError, OverlayError
from wsi_lpd.evaluation.evaluation import evaluate_files, evaluate_maps
from wsi_lpd.evaluation.metrics import confusion
from wsi_lpd.evaluation.read import CODINGS
from wsi_lpd.evaluation.report import Report
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.geojson import place_metadata, region_features, write_overlay
from wsi_lpd.overlay.raster.mask import write_mask
from wsi_lpd.overlay.tracing.trace import trace_regions
from wsi_lpd.types import Size

CLASSES = QUPATH_CLASSES[:3]
NAMES = tuple(c.name for c in CLASSES)
SHAPE = (60, 83)
DOWNSAMPLE = 4.25


def label_map(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.standard_normal(SHAPE), 3) for _ in range(4)]
    return np.argmax(fields, axis=0).astype(np.uint8)


TRUTH = label_map(1)
PREDICTION = np.where(np.random.default_rng(2).random(SHAPE) < 0.3, label_map(3), TRUTH).astype(np.uint8)
COUNTS = confusion(TRUTH, PREDICTION, 3)
SLIDE_PX = Size(round(SHAPE[1] * DOWNSAMPLE), round(SHAPE[0] * DOWNSAMPLE))


def frame(offset: tuple[int, int] = (0, 0)) -> GridFrame:
    return GridFrame(SLIDE_PX.width / SHAPE[1], SLIDE_PX.height / SHAPE[0], *offset)


def overlay(path: Path, pixels: np.ndarray, *, offset: tuple[int, int] = (0, 0), placed: bool = True) -> Path:
    regions = trace_regions(pixels, frame=frame(offset))
    place = place_metadata(slide_px=SLIDE_PX, frame=frame(offset), classes=CLASSES) if placed else {}
    write_overlay(path, region_features(regions, CLASSES), slide="S", metadata=place)
    return path


def mask(path: Path, pixels: np.ndarray, *, offset: tuple[int, int] = (0, 0)) -> Path:
    write_mask(path, [pixels], CLASSES, mpp=2.0, frame=frame(offset))
    return path


def png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def palette_png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 153, 0, 255, 255, 255, 255])
    image.save(path)
    return path


def by_name(report: Report) -> np.ndarray:
    order = [0, *(report.classes.index(name) + 1 for name in NAMES)]
    return report.counts[np.ix_(order, order)]


def enlarged(pixels: np.ndarray, factor: int) -> np.ndarray:
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


@pytest.mark.parametrize("prediction_kind", ["overlay", "packed overlay", "overlay without bounds", "mask"])
@pytest.mark.parametrize("truth_kind", ["overlay", "mask", "plain tiff", "plain png"])
def test_evaluate_files__every_pair_of_kinds_counts_the_same(prediction_kind, truth_kind, tmp_path):
    prediction = {
        "overlay": lambda: overlay(tmp_path / "p.geojson", PREDICTION, offset=(120, 33)),
        "packed overlay": lambda: overlay(tmp_path / "p.geojson.gz", PREDICTION),
        "overlay without bounds": lambda: overlay(tmp_path / "p.geojson", PREDICTION),
        "mask": lambda: mask(tmp_path / "p.ome.tif", PREDICTION, offset=(120, 33)),
    }[prediction_kind]()
    truth = {
        "overlay": lambda: overlay(tmp_path / "t.geojson", TRUTH),
        "mask": lambda: mask(tmp_path / "t.ome.tif", TRUTH),
        "plain tiff": lambda: tifffile.imwrite(tmp_path / "t.tif", TRUTH) or tmp_path / "t.tif",
        "plain png": lambda: png(tmp_path / "t.png", TRUTH),
    }[truth_kind]()
    report = evaluate_files(prediction, truth)
    np.testing.assert_array_equal(by_name(report), COUNTS)
    assert report.warnings == ()
    assert report.scores("A").miou == pytest.approx(evaluate_maps(PREDICTION, TRUTH, NAMES).miou)


def test_evaluate_files__the_truths_grid_is_used_at_another_downsample(tmp_path):
    prediction = mask(tmp_path / "p.ome.tif", PREDICTION)
    finer = evaluate_files(prediction, png(tmp_path / "t.png", enlarged(TRUTH, 2)))
    np.testing.assert_array_equal(finer.counts, COUNTS * 4)
    assert finer.grid.startswith("166 x 120 px")
    coarse = evaluate_files(prediction, png(tmp_path / "t.png", TRUTH[1::2, 1::2]))
    assert coarse.counts.sum() == TRUTH[1::2, 1::2].size
    outlines = evaluate_files(overlay(tmp_path / "p.geojson", PREDICTION), png(tmp_path / "t.png", enlarged(TRUTH, 2)))
    assert outlines.counts.sum() == 4 * TRUTH.size
    assert np.abs(outlines.counts - COUNTS * 4).max() < 0.02 * TRUTH.size


def test_evaluate_files__two_overlays_are_drawn_on_the_grid_they_were_traced_from(tmp_path):
    slide_px = Size(SHAPE[1] * 8 - 5, SHAPE[0] * 8 - 3)  # the last pixels of the label map reach past the slide
    paths = []
    for name, pixels in (("p", PREDICTION), ("t", TRUTH)):
        paths.append(tmp_path / f"{name}.geojson")
        regions = trace_regions(pixels, frame=GridFrame(8, 8))
        place = place_metadata(slide_px=slide_px, frame=GridFrame(8, 8), classes=CLASSES)
        write_overlay(paths[-1], region_features(regions, CLASSES), slide="S", metadata=place)
    report = evaluate_files(*paths)
    np.testing.assert_array_equal(report.counts, COUNTS)
    assert report.grid == "83 x 60 px, 8 x 8 level-0 px each"


def test_evaluate_files__truth_downsample_places_a_plain_mask(tmp_path):
    prediction = overlay(tmp_path / "p.geojson", PREDICTION, placed=False)
    truth = png(tmp_path / "t.png", TRUTH)
    with pytest.raises(LabelError, match="--truth-downsample"):
        evaluate_files(prediction, truth, classes=NAMES)
    report = evaluate_files(prediction, truth, classes=NAMES, truth_downsample=SLIDE_PX.width / SHAPE[1])
    np.testing.assert_array_equal(report.counts, COUNTS)


def test_evaluate_files__a_truth_finer_than_the_slide_is_refused(tmp_path):
    prediction = mask(tmp_path / "p.ome.tif", PREDICTION)
    with pytest.raises(LabelError, match="at least 1"):
        evaluate_files(prediction, png(tmp_path / "t.png", enlarged(TRUTH, 6)))


def test_evaluate_files__overlays_of_others_are_compared_where_they_lie(tmp_path):
    report = evaluate_files(
        overlay(tmp_path / "p.geojson", PREDICTION, placed=False), overlay(tmp_path / "t.geojson", TRUTH, placed=False)
    )
    ours, expected = report.scores("A").iou, evaluate_maps(PREDICTION, TRUTH, NAMES).iou
    assert {k: ours[k] for k in expected} == pytest.approx(expected, abs=0.02)


def test_evaluate_files__numbers_get_no_names_from_the_order_of_polygons(tmp_path):
    prediction = overlay(tmp_path / "p.geojson", PREDICTION, placed=False)
    with pytest.raises(LabelError, match="--classes"):
        evaluate_files(prediction, png(tmp_path / "t.png", TRUTH), truth_downsample=DOWNSAMPLE)


def test_evaluate_files__masks_of_numbers_alone(tmp_path):
    report = evaluate_files(png(tmp_path / "p.png", PREDICTION), png(tmp_path / "t.png", TRUTH))
    np.testing.assert_array_equal(report.counts, COUNTS)
    assert report.classes == ("Class 1", "Class 2", "Class 3")
    with pytest.raises(LabelError, match="not the same part of a slide"):
        evaluate_files(png(tmp_path / "p.png", PREDICTION[:30]), png(tmp_path / "t.png", TRUTH))
    with pytest.raises(LabelError, match="found the value 3, but there are only 2 classes"):
        evaluate_files(tmp_path / "p.png", tmp_path / "t.png", classes=("Tumor", "Stroma"))


def renamed(path: Path, names: dict[str, str]) -> Path:
    text = path.read_text()
    for old, new in names.items():
        text = text.replace(json.dumps(old), json.dumps(new)).replace(f'\\"{old}\\"', f'\\"{new}\\"')
    path.write_text(text)
    return path


def test_evaluate_files__short_names_mean_the_same_class(tmp_path):
    prediction = renamed(overlay(tmp_path / "p.geojson", PREDICTION), {"Tumor": "TUM", "Immune cells": "LYM"})
    report = evaluate_files(prediction, overlay(tmp_path / "t.geojson", TRUTH))
    np.testing.assert_array_equal(by_name(report), COUNTS)


def test_evaluate_files__a_class_of_one_side_is_told_and_scores_zero(tmp_path):
    prediction = renamed(overlay(tmp_path / "p.geojson", PREDICTION), {"Stroma": "Fat"})
    report = evaluate_files(prediction, overlay(tmp_path / "t.geojson", TRUTH))
    assert report.warnings == ("Fat: in p.geojson but not in t.geojson", "Stroma: in t.geojson but not in p.geojson")
    assert report.scores("A").iou["Stroma"] == 0
    assert report.to_json()["warnings"] == list(report.warnings)


def test_evaluate_files__no_class_in_common_is_an_error(tmp_path):
    prediction = renamed(
        overlay(tmp_path / "p.geojson", PREDICTION), {"Tumor": "a", "Stroma": "b", "Immune cells": "c"}
    )
    with pytest.raises(LabelError, match=r"has the classes a, b, c, .* none in common"):
        evaluate_files(prediction, overlay(tmp_path / "t.geojson", TRUTH))


def test_evaluate_files__an_empty_prediction_misses_everything(tmp_path):
    report = evaluate_files(
        overlay(tmp_path / "p.geojson", np.zeros_like(TRUTH), placed=False), mask(tmp_path / "t.ome.tif", TRUTH)
    )
    assert report.scores("B").miou == 0
    np.testing.assert_array_equal(by_name(report)[:, 0], np.bincount(TRUTH.ravel()))


def test_evaluate_files__a_truth_without_classes_is_an_error(tmp_path):
    with pytest.raises(LabelError, match="found no classes"):
        evaluate_files(
            mask(tmp_path / "p.ome.tif", PREDICTION),
            overlay(tmp_path / "t.geojson", np.zeros_like(TRUTH), placed=False),
        )


def test_evaluate_files__classes_not_asked_for_are_ignored_in_the_truth(tmp_path):
    report = evaluate_files(
        mask(tmp_path / "p.ome.tif", PREDICTION), mask(tmp_path / "t.ome.tif", TRUTH), classes=("Stroma", "Tumor")
    )
    truth = np.array([0, 2, 1, 255], dtype=np.uint8)[TRUTH]
    prediction = np.array([0, 2, 1, 0], dtype=np.uint8)[PREDICTION]
    np.testing.assert_array_equal(report.counts, confusion(truth, prediction, 2))
    assert "Immune cells: not asked for" in report.warnings[0]


def test_evaluate_files__qupaths_special_classes(tmp_path):
    truth = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"classification": name},
            }
            for name, ring in (
                ("Tumor", [[10, 10], [30, 10], [30, 20], [10, 20], [10, 10]]),
                ("Region*", [[0, 0], [80, 0], [80, 60], [0, 60], [0, 0]]),
                ("Ignore*", [[0, 0], [12, 0], [12, 60], [0, 60], [0, 0]]),
                (None, [[40, 40], [50, 40], [50, 50], [40, 40]]),
            )
        ],
    }  # fmt: skip
    (tmp_path / "t.geojson").write_text(json.dumps(truth))
    pixels = np.zeros((60, 80), dtype=np.uint8)
    pixels[5:15, 5:35] = 1
    write_mask(tmp_path / "p.ome.tif", [pixels], CLASSES, mpp=1.0, frame=GridFrame(1, 1))
    report = evaluate_files(tmp_path / "p.ome.tif", tmp_path / "t.geojson")
    index = report.classes.index("Tumor") + 1
    # The tumour's two columns below the larger `Ignore*` are drawn over it; 12 columns are not judged otherwise.
    assert report.counts.sum() == 60 * 80 - 12 * 60 + 2 * 10
    assert report.counts[index, index] == 5 * 20
    assert report.counts[index, 0] == 5 * 20
    assert "1 area(s) without a class" in report.warnings[0]


def test_evaluate_files__a_small_area_inside_a_large_one_is_seen(tmp_path):
    rings = {"Stroma": [[2, 2], [6, 2], [6, 6], [2, 6], [2, 2]], "Tumor": [[0, 0], [20, 0], [20, 9], [0, 9], [0, 0]]}
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [r]}, "properties": {"classification": n}}
        for n, r in rings.items()
    ]
    (tmp_path / "t.geojson").write_text(json.dumps(features))
    pixels = np.ones((9, 20), dtype=np.uint8)
    pixels[2:6, 2:6] = 2
    write_mask(tmp_path / "p.ome.tif", [pixels], CLASSES[:2], mpp=1.0, frame=GridFrame(1, 1))
    assert evaluate_files(tmp_path / "p.ome.tif", tmp_path / "t.geojson").scores("B").miou == 1


def coded(pixels: np.ndarray, coding: str) -> np.ndarray:
    """Our label map (0 background) in a data set's values."""
    n_classes = len(CODINGS[coding].names or ())
    return np.where(pixels == 0, n_classes, pixels - 1).astype(np.uint8)


@pytest.mark.parametrize(
    ("coding", "names"),
    [
        ("bcss-wsss", ("Tumor", "Stroma", "Immune cells", "Necrosis")),
        ("luad-histoseg", ("Tumor", "Necrosis", "Immune cells", "Stroma")),
        ("wsss4luad", ("Tumor", "Stroma", "Normal")),
    ],
)
def test_evaluate_files__mask_folders_of_the_data_sets(coding, names, tmp_path):
    images = {"a": (TRUTH, PREDICTION), "b[1 0 1]": (PREDICTION[:30], TRUTH[:30])}
    for name, (true, predicted) in images.items():
        palette_png(tmp_path / "val" / "mask" / f"{name}.png", coded(true, coding))
        palette_png(tmp_path / "out" / f"{name}.png", coded(predicted, coding))
    report = evaluate_files(tmp_path / "out", tmp_path / "val", coding=coding)
    expected = sum(confusion(true, predicted, len(names)) for true, predicted in images.values())
    np.testing.assert_array_equal(report.counts, expected)
    assert report.classes == names
    assert report.n_images == 2


def test_evaluate_files__the_prediction_may_be_coded_differently(tmp_path):
    palette_png(tmp_path / "t" / "a.png", coded(TRUTH, "bcss-wsss"))
    png(tmp_path / "p" / "a.png", PREDICTION)
    report = evaluate_files(tmp_path / "p", tmp_path / "t", coding="bcss-wsss", prediction_coding="index")
    np.testing.assert_array_equal(report.counts[:4, :4], COUNTS)


def test_evaluate_files__folders_must_fit(tmp_path):
    for name in ("a", "b", "c"):
        png(tmp_path / "t" / f"{name}.png", TRUTH)
    png(tmp_path / "p" / "a.png", PREDICTION)
    with pytest.raises(LabelError, match=r"no mask for 2 of the 3 images .* such as b"):
        evaluate_files(tmp_path / "p", tmp_path / "t", classes=NAMES)
    with pytest.raises(LabelError, match="pass --classes"):
        evaluate_files(tmp_path / "t", tmp_path / "t")
    png(tmp_path / "p" / "b.png", PREDICTION)
    png(tmp_path / "p" / "c.png", PREDICTION[:, :40])
    with pytest.raises(LabelError, match=r"c\.png: is 40 x 60 pixels, its truth .* 83 x 60"):
        evaluate_files(tmp_path / "p", tmp_path / "t", classes=NAMES)
    png(tmp_path / "p" / "c.png", PREDICTION)
    png(tmp_path / "p" / "d.png", PREDICTION)
    report = evaluate_files(tmp_path / "p", tmp_path / "t", classes=NAMES)
    np.testing.assert_array_equal(report.counts, 3 * COUNTS)
    assert "1 mask(s)" in report.warnings[0]
    with pytest.raises(LabelError, match="is a folder and"):
        evaluate_files(tmp_path / "p", tmp_path / "t" / "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match="found no masks"):
        evaluate_files(tmp_path / "p", tmp_path / "empty")


def test_evaluate_files__files_that_are_no_masks_are_named(tmp_path):
    truth = png(tmp_path / "t.png", TRUTH)
    rgb = png(tmp_path / "rgb.png", np.stack([TRUTH] * 3, axis=2))
    with pytest.raises(LabelError, match=r"rgb\.png: found a RGB image, expected class indices"):
        evaluate_files(rgb, truth)
    with pytest.raises(LabelError, match=r"none\.png: no such file"):
        evaluate_files(tmp_path / "none.png", truth)
    (tmp_path / "x.csv").write_text("a")
    with pytest.raises(LabelError, match=r"x\.csv: expected an overlay"):
        evaluate_files(tmp_path / "x.csv", truth)
    (tmp_path / "x.png").write_text("a")
    with pytest.raises(LabelError, match=r"x\.png: is no image"):
        evaluate_files(tmp_path / "x.png", truth)
    (tmp_path / "x.tif").write_text("a")
    with pytest.raises(OverlayError, match=r"x\.tif"):
        evaluate_files(tmp_path / "x.tif", truth)
    with pytest.raises(
        LabelError, match=r"t\.png: found the value\(s\) \[3\], expected 0 to 2, 3 for background|found"
    ):
        evaluate_files(truth, png(tmp_path / "u.png", TRUTH + 9), coding="wsss4luad")


@pytest.mark.realdata
def test_evaluate_files__real_masks_agree_with_themselves(real_data):
    folder = real_data / "labelled" / "wsss4luad" / "3.testing" / "mask"
    report = evaluate_files(folder, folder, coding="wsss4luad")
    assert report.n_images == 67
    assert report.scores("B").miou == 1
    shares = report.counts.sum(axis=1) / report.counts.sum()
    # The data set's own description: 34 % tumour, 38 % stroma, 6 % normal, 21 % white.
    np.testing.assert_allclose(shares, [0.21, 0.34, 0.38, 0.06], atol=0.01)
