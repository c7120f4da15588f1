"""Rows of the comparison say what they claim, and runs are planned once."""

from __future__ import annotations

import argparse

import pytest

from benchmarks.data import SIZES
from benchmarks.methods import rows
from benchmarks.methods.plan import planned_jobs
from wsi_lpd.config import Config, load_config, methods
from wsi_lpd.methods.reference import ReferenceConfig

TRAINED = [name for name, row in rows.ROWS.items() if not row.reads]


def configured(row: str) -> Config:
    return load_config(None, rows.settings_of(row, reference_dim=SIZES["cpu"].reference_dim))


@pytest.mark.parametrize("row", TRAINED)
def test_every_row__is_a_valid_configuration_unlike_all_others(row):
    def made(name):
        return configured(name), rows.ROWS[name].masks_of

    assert not [other for other in TRAINED if other != row and made(other) == made(row)]


def test_every_method__has_a_row():
    first_stages = set(methods()) - {"decoder"}
    assert set(rows.METHODS) == first_stages | {f"{name}+decoder" for name in first_stages}


def test_the_ladder__ends_at_what_the_default_weighs():
    last, default = configured("plus-pseudo"), Config()
    for name in ("exclusion_weight", "pseudo_weight", "similarity_weight", "diversity_weight", "refiner"):
        assert getattr(last.loss, name) == getattr(default.loss, name), name
    assert last.augment == default.augment
    assert last.model.scores == default.model.scores
    assert configured("lpd") == default


def test_a_row__stands_on_another():
    assert configured("R4").loss.diversity_weight == configured("R3").loss.diversity_weight == 0.5
    assert not configured("R4").own(ReferenceConfig).class_offset
    assert configured("R3").own(ReferenceConfig).class_offset
    for name in ("R0", "R1", "R2", "R5", "R6a", "R6b", "R7"):
        assert configured(name).model.scores == "relative", name
    assert configured("R9").model.scores == "absolute"
    assert rows.refinements_of("R9") == ("none", "pamr")


def options(**changes):
    values = {
        "table": "all",
        "seeds": 3,
        "second_stage_seeds": 3,
        "ablation_seeds": 2,
        "rows": None,
        "set": [],
    } | changes
    return argparse.Namespace(**values)


def test_planned_runs__are_each_planned_once_and_share_the_default():
    jobs = planned_jobs(SIZES["cpu"], ["synthetic", "wsss4luad"], options())
    names = [job.name for job in jobs]
    asked_for = [row for row in TRAINED if not rows.ROWS[row].extra]
    n_methods = len(rows.METHODS)
    assert len(set(names)) == len(names) == 2 * 3 * n_methods + 2 * (len(asked_for) - n_methods)
    assert names.count("synthetic-lpd-1") == 1
    assert {job.row for job in jobs if job.cohort == "wsss4luad"} == set(rows.METHODS)
    assert {load_config(None, job.settings).train.seed for job in jobs} == {0, 1, 2}


def test_extra_rows__run_when_they_are_named():
    jobs = planned_jobs(SIZES["cpu"], ["synthetic"], options(rows=["K10", "no-diversity"]))
    assert [job.name for job in jobs] == [
        f"synthetic-{row}-{seed}" for seed in (0, 1) for row in ("no-diversity", "K10")
    ]


def test_every_first_stage__has_a_second_one_that_comes_with_it():
    assert {row.masks_of for row in rows.METHODS.values()} - {None} == set(rows.FIRST_STAGES)
    jobs = planned_jobs(SIZES["cpu"], ["synthetic"], options(rows=["cam+decoder"], seeds=1))
    assert [(job.name, job.masks_of) for job in jobs] == [
        ("synthetic-cam-0", None), ("synthetic-cam+decoder-0", "cam"),
    ]  # fmt: skip
    assert jobs[1].name_of("cam") == jobs[0].name
    assert load_config(None, jobs[1].settings).method == "decoder"


def test_second_stages__have_seeds_of_their_own_and_bring_no_first_stage_alone():
    given = options(rows=["lpd", "cam+decoder"], table="methods", seeds=2, second_stage_seeds=1)
    names = [job.name for job in planned_jobs(SIZES["cpu"], ["synthetic"], given)]
    assert names == ["synthetic-cam-0", "synthetic-lpd-0", "synthetic-cam+decoder-0", "synthetic-lpd-1"]


def test_set__comes_before_what_makes_the_row():
    given = options(set=["loss.diversity_weight=0.4", "train.batch_size=5"], rows=["lpd", "no-diversity"])
    jobs = planned_jobs(SIZES["cpu"], ["synthetic"], given)
    weights = {job.row: load_config(None, job.settings).loss.diversity_weight for job in jobs}
    assert weights == {"lpd": 0.4, "no-diversity": 0}
    assert load_config(None, jobs[0].settings).train.batch_size == 5
