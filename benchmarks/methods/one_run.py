"""One run of the comparison in a process of its own: trains, scores the held-out images, writes one JSON file.

    python -m benchmarks.methods.one_run JOB.json

`runner.py` writes the job and starts this process, so that its peak memory is that of one run alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.data import Cohort, HeldOut
from benchmarks.measuring import peak_device_mb, peak_mb, read_metrics
from benchmarks.methods.job import Job
from wsi_lpd.config import Config, load_config, updated
from wsi_lpd.evaluation.calibration_error import image_level_scores
from wsi_lpd.evaluation.model import evaluate_model
from wsi_lpd.evaluation.protocols import GateName
from wsi_lpd.evaluation.report import ImageCounts, Report
from wsi_lpd.evaluation.true_images import label_of_mask
from wsi_lpd.files import write_text
from wsi_lpd.labels.sources import read_labels
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.saved.card import load_card
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.prediction.refine import RefinementName
from wsi_lpd.pseudo_masks.job import make_masks
from wsi_lpd.training.run.job import load_training_data, train
from wsi_lpd.training.run.run_folder import RunFolder
from wsi_lpd.types import IGNORE, UInt8Array
from wsi_lpd.versions import versions_of

GATES: tuple[GateName, ...] = ("none", "predicted", "oracle")
LEAST_TISSUE = 0.5
"""Least tissue of a held-out patch on which presence is checked, as `tile.min_tissue` is of training patches."""


def main() -> None:
    """Runs the job that the file describes."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    job = Job.from_json(task["job"])
    cohort = Cohort(job.cohort, Path(task["cohort_folder"]))
    result = run_job(job, cohort, run=Path(task["run"]), device=task["device"])
    write_text(Path(task["result"]), json.dumps(result))


def run_job(job: Job, cohort: Cohort, *, run: Path, device: str) -> dict[str, Any]:
    """Trains and scores; a run that was stopped resumes from its last checkpoint.

    A second stage makes its pseudo masks first, and their time counts; the time of its first stage does not.
    """
    settings, masks, masks_s = job.settings, None, 0.0
    if job.masks_of is not None:
        first, masks = run.parent / job.name_of(job.masks_of), run.with_name(f"{run.name}.masks")
        settings = (*settings, f"model.weights={first}")
        started = time.perf_counter()
        _make_masks(first, masks, cohort, settings, device)
        masks_s = time.perf_counter() - started
    config = load_config(None, settings)
    if config.model.vectors is not None:
        config = updated(config, {"model.vectors": cohort.folder / config.model.vectors})
    data = load_training_data([cohort.labels], [], config, masks=masks)
    started, started_cpu = time.perf_counter(), time.process_time()
    trained = train(data, config, runs_dir=run.parent, out=run, device=device)
    train_s, train_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    training_peak_mb = peak_mb()
    RunFolder(run).state_path.unlink(missing_ok=True)  # tens of MB that nothing reads any more
    started = time.perf_counter()
    chosen = choose_device(device)
    predictor = Predictor.load(trained.path, chosen)
    scored = {name: _scored(predictor, cohort.held_out, name, config) for name in job.refinements}
    return {
        "job": job.to_json(),
        "classes": [c.name for c in predictor.card.classes],
        "n_training_patches": len(data.training),
        "scored": scored,
        "image_level": _presence_of_patches(predictor, cohort.held_out),
        "validation": trained.metrics,
        "training": training_summary(read_metrics(run), len(data.training)),
        "masks_s": round(masks_s, 2),
        "train_s": round(train_s, 2),
        "train_cpu_s": round(train_cpu_s, 2),
        "score_s": round(time.perf_counter() - started, 2),
        "peak_mb": round(training_peak_mb, 1),
        "peak_with_scoring_mb": round(peak_mb(), 1),
        "peak_device_mb": peak_device_mb(chosen),
        "device": str(chosen),
        "threads": torch.get_num_threads(),
        "config": config.model_dump(mode="json"),
        "versions": versions_of(("torch", "timm", "numpy")),
    }


def _make_masks(first: Path, masks: Path, cohort: Cohort, settings: Sequence[str], device: str) -> None:
    """Pseudo masks of a cohort's training patches, by the run `first`."""
    table = read_labels([cohort.labels], classes=load_card(first).label_columns)
    make_masks(table, first, masks, load_config(None, settings).masks, device=device)


def training_summary(rows: Sequence[Mapping[str, str]], n_patches: int) -> dict[str, Any]:
    """Speed, waiting for data, and the diversity term's share of the gradient, from `metrics.csv`.

    Args:
        rows: Lines of the table.
        n_patches: Training patches of an epoch.
    """
    lines = [row for row in rows if row["part"] == "train"]
    rates, waits, ratios = (
        np.array([float(row[key]) for row in lines if row[key]])
        for key in ("patches_per_s", "data_wait", "diversity_gradient_ratio")
    )
    # Every line covers equally many patches, so seconds are averaged, not rates.
    return {
        "seconds_per_epoch": float(n_patches * (1 / rates).mean()) if len(rates) else None,
        "data_wait": float(waits.mean()) if len(waits) else None,
        "diversity_gradient_ratio": {
            "n": len(ratios),
            "median": float(np.median(ratios)),
            "least": float(ratios.min()),
            "most": float(ratios.max()),
        }
        if len(ratios)
        else None,
    }


def _scored(predictor: Predictor, images: HeldOut, refinement: RefinementName, config: Config) -> dict[str, Any]:
    reports = evaluate_model(predictor, images, gates=GATES, refinement=refinement, config=config.segment)
    return {gate: counts_of(report) for gate, report in reports.items()}


def counts_of(report: Report) -> dict[str, Any]:
    """Everything that scores and intervals are computed from, as plain values."""
    return {"images": [_image_counts(image) for image in report.images]}


def _image_counts(image: ImageCounts) -> dict[str, Any]:
    return {
        "name": image.name,
        "group": image.group,
        "counts": image.tally.counts.tolist(),
        "boundary_shared": image.tally.boundary.shared.tolist(),
        "boundary_either": image.tally.boundary.either.tolist(),
    }


def _presence_of_patches(predictor: Predictor, images: HeldOut) -> dict[str, Any]:
    """How well presence is predicted for patches of the training's size, cut from the held-out images."""
    side, n_classes = predictor.card.patch_px, len(predictor.card.classes)
    presence, labels = [], []
    for image in images:
        pixels, truths = list(_squares(image.pixels, side)), list(_squares(image.truth, side))
        kept = [i for i, truth in enumerate(truths) if ((truth > 0) & (truth != IGNORE)).mean() >= LEAST_TISSUE]
        for start in range(0, len(kept), 64):
            rows = kept[start : start + 64]
            predicted = predictor.predict(np.stack([pixels[i] for i in rows]), output_stride=side)
            presence += [maps.presence for maps in predicted]
            labels += [label_of_mask(truths[i], n_classes) for i in rows]
    if not labels:
        return {"n_images": 0, "ece": None}
    names = [c.name for c in predictor.card.classes]
    return image_level_scores(np.stack(presence), np.stack(labels), names).to_json()


def _squares(array: UInt8Array, side: int) -> Iterator[UInt8Array]:
    """Squares side by side from the upper left; a rest at the right or bottom is left out."""
    for y in range(0, array.shape[0] - side + 1, side):
        for x in range(0, array.shape[1] - side + 1, side):
            yield array[y : y + side, x : x + side]


if __name__ == "__main__":
    main()
