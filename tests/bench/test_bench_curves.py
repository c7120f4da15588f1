"""The curves: every point is planned once, and figures are drawn from numbers alone."""

from __future__ import annotations

import pytest

from benchmarks.data import SIZES
from benchmarks.measuring import Estimate
from benchmarks.methods import curves, figure
from wsi_lpd.config import load_config


def test_every_curve__plans_each_point_once_and_sets_it():
    jobs = curves.planned_jobs(list(curves.CURVES), SIZES["cpu"], seeds=2)
    assert (
        len({job.name for job in jobs})
        == len(jobs)
        == 2 * sum(len(curve.rows) * len(curve.points) for curve in curves.CURVES.values())
    )
    by_row = {job.row: load_config(None, job.settings) for job in jobs}
    assert (by_row["pscl-epochs-3"].train.epochs, by_row["pscl-epochs-3"].train.max_steps) == (3, None)
    assert by_row["pscl-epochs-3"].method == "pscl"
    assert by_row["lpd-prototypes-10"].model.prototypes_per_class == 10
    assert by_row["lpd-diversity-0.05"].loss.diversity_weight == 0.05
    assert by_row["lpd-diversity-0.05"].train.max_steps == SIZES["cpu"].steps
    few = curves.planned_jobs(["epochs"], SIZES["cpu"], seeds=1, points=[5, 7])
    assert [job.name for job in few] == [f"synthetic-{row}-epochs-5-0" for row in ("pscl", "cam", "lpd")]


def test_a_figure__is_the_same_bytes_for_the_same_numbers_and_shows_each_line(tmp_path):
    pytest.importorskip("matplotlib", reason="the figures need matplotlib")
    curve = curves.CURVES["epochs"]
    points = [
        figure.Point(row, x, 2, Estimate(0.3 + 0.01 * x, 0.2, None if x == 2 else 0.7))
        for row in ("pscl", "lpd")
        for x in (1, 2, 5)
    ]
    for name in ("a.svg", "b.svg"):
        figure.draw(curve, points, tmp_path / "new" / name)
    drawn = (tmp_path / "new" / "a.svg").read_text()
    assert drawn == (tmp_path / "new" / "b.svg").read_text()
    assert ">pscl<" in drawn
    assert ">lpd<" in drawn
    assert ">cam<" not in drawn, "nothing is finished of it"
    figure.draw(curve, points[:-1], tmp_path / "new" / "b.svg")
    assert drawn != (tmp_path / "new" / "b.svg").read_text()
    assert figure.markdown(curve, points).splitlines()[2] == "| pscl | 1 | 2 | 0.310 [0.200, 0.700] |"
