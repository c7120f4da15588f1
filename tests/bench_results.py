"""Results of runs as the comparison of methods writes them, of random maps."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.methods import SeededCounts, one_run
from wsi_lpd.evaluation.report import ImageCounts, Report, tally

NAMES = ("Tumor", "Stroma", "Immune cells")
GROUPS = ["b", "a", "c", "a", "b", "d"]


def random_maps(generator, shape=(23, 31)):
    return generator.integers(0, len(NAMES) + 1, size=shape).astype(np.uint8)


def random_run(seed, groups, *, accuracy=0.5):
    """Results as `one_run` writes them; the truth of a group is the same for every seed and accuracy."""
    counted = []
    for i, group in enumerate(groups):
        truth = random_maps(np.random.default_rng(i))
        generator = np.random.default_rng((seed, i, 7))
        noise = random_maps(generator)
        share = accuracy + 0.2 * (i % 3 - 1)
        prediction = np.where(generator.random(truth.shape) < share, truth, noise).astype(np.uint8)
        counted.append(ImageCounts(f"{group}-{i}", group, tally(truth, prediction, len(NAMES))))
    return Report(NAMES, tuple(counted), "grid", ())


def as_json(report):
    return json.loads(json.dumps(one_run.counts_of(report)))


def seeded(reports):
    return SeededCounts.of_runs({seed: as_json(report) for seed, report in reports.items()})


def result(seed, accuracy, *, refinements=("none",)):
    gates = {
        gate: as_json(random_run(seed, GROUPS, accuracy=accuracy + shift))
        for gate, shift in (("none", -0.1), ("predicted", 0.0), ("oracle", 0.1))
    }
    ratios = {"n": 3, "median": accuracy, "least": 0.0, "most": 1.0}
    told = {"seconds_per_epoch": 10.0 + seed, "data_wait": 0.01, "diversity_gradient_ratio": ratios}
    return {
        "scored": dict.fromkeys(refinements, gates),
        "training": told,
        "peak_mb": 900.0 + seed,
        "peak_device_mb": None,
        "image_level": {"ece": 0.05},
    }
