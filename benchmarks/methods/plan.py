"""Which runs a benchmark needs, with which settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.data import SIZES, WSSS4LUAD_SETTINGS, BenchSize, synthetic_settings
from benchmarks.methods.job import Files, Job, read_result
from benchmarks.methods.rows import ABLATION, METHODS, ROWS, refinements_of, settings_of
from wsi_lpd.config import load_config
from wsi_lpd.errors import ConfigError

ENDLESS_EPOCHS = 100_000
"""Steps decide how long is trained, equally for every method."""
MOST_STEPS_PER_LINE = 20
LEAST_LINES = 10


def chosen_size(options: argparse.Namespace) -> BenchSize:
    """The size named by `--size`, with `--steps` in place of its own where given."""
    size = SIZES[options.size]
    if options.steps is None:
        return size
    return replace(size, steps=options.steps, wsss4luad_steps=options.steps)


def planned_jobs(size: BenchSize, cohorts: Sequence[str], options: argparse.Namespace) -> list[Job]:
    """Every run of the wanted tables once, seed by seed, so that a benchmark that was stopped has whole seeds."""
    wanted: dict[str, Job] = {}
    for seed in range(max(options.seeds, options.ablation_seeds)):
        for cohort in cohorts:
            for row in _rows(cohort, seed, options):
                job = job_of(cohort, row, seed, size, options.set)
                wanted[job.name] = job
    return list(wanted.values())


def _rows(cohort: str, seed: int, options: argparse.Namespace) -> list[str]:
    names: dict[str, None] = {}
    if options.table in ("methods", "all"):
        names |= {
            name: None
            for name, row in METHODS.items()
            if seed < options.seeds and (row.masks_of is None or seed < options.second_stage_seeds)
        }
    if options.table in ("ablation", "all") and seed < options.ablation_seeds and cohort == "synthetic":
        names |= {name: None for name, row in ABLATION.items() if not row.reads and (options.rows or not row.extra)}
    if options.rows is None:
        return list(names)
    stages = {ROWS[name].masks_of for name in options.rows if name in names}
    return [name for name in names if name in options.rows or name in stages]


def job_of(cohort: str, row: str, seed: int, size: BenchSize, extra: Sequence[str]) -> Job:
    """The run of a row as the tables have it; `extra` comes before what makes the row."""
    synthetic = cohort == "synthetic"
    steps = size.steps if synthetic else size.wsss4luad_steps
    settings = (
        *(synthetic_settings(size) if synthetic else WSSS4LUAD_SETTINGS),
        *size.settings,
        f"train.max_steps={steps}",
        f"train.epochs={ENDLESS_EPOCHS}",
        f"train.log_every={max(1, min(MOST_STEPS_PER_LINE, steps // LEAST_LINES))}",
        "train.report=false",
        *extra,
        *settings_of(row, reference_dim=size.reference_dim),
        f"train.seed={seed}",
    )
    refinements = refinements_of(row) if synthetic else ("none",)
    return Job(cohort, row, seed, settings, refinements, ROWS[row].masks_of)


def check(jobs: Sequence[Job], files: Files) -> None:
    """Checks every configuration, and that every finished result is of this one, before hours are spent.

    Raises:
        ConfigError: If a configuration is invalid, or a result was made with other settings.
    """
    for job in jobs:
        load_config(None, job.settings)
        path = files.result(job)
        if path.is_file() and read_result(path)["job"] != job.to_json():
            raise ConfigError(f"{path}: was made with other settings; choose another --out, or remove it")
