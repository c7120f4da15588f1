from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from wsi_lpd.evaluation.confusion_picture import draw_confusion
from wsi_lpd.evaluation.outputs import write_outputs
from wsi_lpd.evaluation.report import ImageCounts, Report, tally

CLASSES = ("Tumor", "Stroma")


def report(gate=None):
    rng = np.random.default_rng(1)
    images = []
    for i in range(3):
        truth, free = rng.integers(0, 3, (2, 5, 4 + i)).astype(np.uint8)
        if i == 1:
            truth[truth == 2] = 1
            free[free == 2] = 0
        images.append(ImageCounts(f"i,{i}", f"g{i // 2}", tally(truth, free, 2), tally(truth, np.maximum(free, 1), 2)))
    return Report(CLASSES, tuple(images), "", (), gate=gate, refinement="none")


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_outputs__hold_the_numbers_of_the_reports(tmp_path):
    reports = [report("none"), report("oracle")]
    written = write_outputs(tmp_path / "out", reports, ("A", "C"), {"x": 1.5})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in written)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == {"x": 1.5}
    lines = rows(tmp_path / "out" / "per_image.csv")
    assert [(line["image"], line["group"], line["gate"]) for line in lines] == [
        (f"i,{i}", f"g{i // 2}", gate) for gate in ("none", "oracle") for i in range(3)
    ]
    first = reports[0].images[0]
    for protocol in ("A", "C"):
        scores = Report(CLASSES, (first,), "", (), gate="none").scores(protocol)
        assert float(lines[0][f"mIoU {protocol}"]) == pytest.approx(scores.miou, abs=1e-6)
        assert float(lines[0][f"IoU Stroma {protocol}"]) == pytest.approx(scores.iou["Stroma"], abs=1e-6)
    assert lines[1]["IoU Stroma A"] == "", "a class that is neither there nor told has no score"
    assert int(lines[0]["judged px"]) == first.tally.counts.sum()
    confusion = rows(tmp_path / "out" / "confusion.csv")
    assert len(confusion) == 2 * 2 * 3
    allowed, forced = (
        [[int(line[n]) for n in ("background", *CLASSES)] for line in confusion[start : start + 3]] for start in (0, 3)
    )
    assert allowed == reports[0].counts.tolist()
    assert forced == reports[0].total("C").counts.tolist()
    assert {line["predicted background"] for line in confusion[3:6]} == {"not allowed"}


def test_outputs__of_files_name_no_gate_and_are_replaced(tmp_path):
    for _ in range(2):
        write_outputs(tmp_path, [report()], ("C",), {})
    assert len(list(tmp_path.iterdir())) == 4
    assert {line["gate"] for line in rows(tmp_path / "per_image.csv")} == {"as in the files"}
    assert len(rows(tmp_path / "confusion.csv")) == 3
    picture = np.asarray(Image.open(tmp_path / "confusion.png"))
    assert picture.ndim == 3


def test_the_picture__is_dark_where_the_pixels_are():
    counts = np.array([[0, 0, 0], [90, 5, 5], [0, 0, 40]])
    picture = draw_confusion([("t", counts)], ("background", *CLASSES)).astype(int)
    blue = picture[..., 2] - picture[..., 0] > 60
    ys, xs = np.nonzero(blue)
    middle_y, middle_x = (ys.min() + ys.max()) / 2, (xs.min() + xs.max()) / 2
    upper, lower = xs[ys < middle_y], xs[ys > middle_y]
    assert len(upper) > 500 < len(lower)
    assert upper.max() < middle_x < lower.min(), "Tumor's row is dark at the left, Stroma's at the right"
    double = draw_confusion([("t", counts), ("u", counts)], ("background", *CLASSES))
    assert double.shape == (2 * picture.shape[0], *picture.shape[1:])
