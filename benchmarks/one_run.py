"""One run of the comparison in a process of its own: trains, scores the held-out images, writes one JSON file.

    python benchmarks/one_run.py JOB.json

`methods.py` writes the job and starts this; its peak memory is then that of this run alone.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cohorts import Cohort, HeldOut

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
"""Of a held-out patch on which presence is checked; what `tile.min_tissue` asks of training patches."""


@dataclass(frozen=True)
class Job:
    """What is to be done; everything that decides the result.

    Attributes:
        cohort: Name of the cohort.
        row: Name of the row.
        seed: Of the training.
        settings: `key=value` lines in their order, seed and cohort included.
        refinements: Each is scored.
        masks_of: The row whose run of the same cohort and seed makes the pseudo masks, for a second stage.
    """

    cohort: str
    row: str
    seed: int
    settings: tuple[str, ...]
    refinements: tuple[RefinementName, ...]
    masks_of: str | None = None

    @property
    def name(self) -> str:
        """Of its files."""
        return self.name_of(self.row)

    def name_of(self, row: str) -> str:
        """Of the files of another row's run, of the same cohort and seed."""
        return f"{self.cohort}-{row}-{self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they are found again in the result."""
        return dict(json.loads(json.dumps(asdict(self))))


def main() -> None:
    """Does the job that the file describes."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    fields = task["job"]
    job = Job(**{**fields, "settings": tuple(fields["settings"]), "refinements": tuple(fields["refinements"])})
    cohort = Cohort(job.cohort, Path(task["cohort_folder"]))
    result = run_job(job, cohort, run=Path(task["run"]), device=task["device"])
    write_text(Path(task["result"]), json.dumps(result))


def run_job(job: Job, cohort: Cohort, *, run: Path, device: str) -> dict[str, Any]:
    """Trains and scores; a run that was stopped goes on at its last checkpoint.

    A second stage makes its masks first, and counts the time that this takes; the first stage's is its own row's.
    """
    settings, masks, masks_s = job.settings, None, 0.0
    if job.masks_of is not None:
        first = run.parent / job.name_of(job.masks_of)
        settings = (*settings, f"model.weights={first}")
        masks = run.with_name(f"{run.name}.masks")
        work_left = time.perf_counter()
        table = read_labels([cohort.labels], classes=load_card(first).label_columns)
        make_masks(table, first, masks, load_config(None, settings).masks, device=device)
        masks_s = time.perf_counter() - work_left
    config = load_config(None, settings)
    if config.model.vectors is not None:
        config = updated(config, {"model.vectors": cohort.folder / config.model.vectors})
    data = load_training_data([cohort.labels], [], config, masks=masks)
    work_left, begun_cpu = time.perf_counter(), time.process_time()
    trained = train(data, config, runs_dir=run.parent, out=run, device=device)
    train_s, train_cpu_s = time.perf_counter() - work_left, time.process_time() - begun_cpu
    peak_mb = _peak_mb()
    RunFolder(run).state_path.unlink(missing_ok=True)  # tens of MB that nobody reads any more
    work_left = time.perf_counter()
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
        "training": printed_by(_metrics(run), len(data.training)),
        "masks_s": round(masks_s, 2),
        "train_s": round(train_s, 2),
        "train_cpu_s": round(train_cpu_s, 2),
        "score_s": round(time.perf_counter() - work_left, 2),
        "peak_mb": round(peak_mb, 1),
        "peak_with_scoring_mb": round(_peak_mb(), 1),
        "peak_device_mb": _peak_device_mb(chosen),
        "device": str(chosen),
        "threads": torch.get_num_threads(),
        "config": config.model_dump(mode="json"),
        "versions": versions_of(("torch", "timm", "numpy")),
    }


def printed_by(rows: Sequence[Mapping[str, str]], n_patches: int) -> dict[str, Any]:
    """What `metrics.csv` says of speed and of the diversity term.

    Args:
        rows: Lines of the table.
        n_patches: Training patches of an epoch.
    """
    lines = [row for row in rows if row["part"] == "train"]
    rates, waits, ratios = (
        np.array([float(row[key]) for row in lines if row[key]])
        for key in ("patches_per_s", "data_wait", "diversity_gradient_ratio")
    )
    # Every line speaks of as many patches, so the seconds of each are averaged, not the rates.
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


def _metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _scored(predictor: Predictor, images: HeldOut, refinement: RefinementName, config: Config) -> dict[str, Any]:
    reports = evaluate_model(predictor, images, gates=GATES, refinement=refinement, config=config.segment)
    return {gate: counts_of(report) for gate, report in reports.items()}


def counts_of(report: Report) -> dict[str, Any]:
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
    """How well presence is told in patches of the size that was learnt from, cut from the held-out images."""
    side, n_classes = predictor.card.patch_px, len(predictor.card.classes)
    presence, labels = [], []
    for image in images:
        pixels, truths = list(_squares(image.pixels, side)), list(_squares(image.truth, side))
        kept = [i for i, truth in enumerate(truths) if ((truth > 0) & (truth != IGNORE)).mean() >= LEAST_TISSUE]
        for start in range(0, len(kept), 64):
            rows = kept[start : start + 64]
            looked = predictor.predict(np.stack([pixels[i] for i in rows]), output_stride=side)
            presence += [maps.presence for maps in looked]
            labels += [label_of_mask(truths[i], n_classes) for i in rows]
    if not labels:
        return {"n_images": 0, "ece": None}
    names = [c.name for c in predictor.card.classes]
    return image_level_scores(np.stack(presence), np.stack(labels), names).to_json()


def _squares(array: UInt8Array, side: int) -> Iterator[UInt8Array]:
    """Squares side by side from the upper left; what is left at the right and bottom is not looked at."""
    for y in range(0, array.shape[0] - side + 1, side):
        for x in range(0, array.shape[1] - side + 1, side):
            yield array[y : y + side, x : x + side]


def _peak_mb() -> float:
    """Highest resident memory of this process.

    On Linux not that of `getrusage`: through `exec` a child keeps the peak of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _peak_device_mb(device: torch.device) -> float | None:
    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1) if device.type == "cuda" else None


if __name__ == "__main__":
    main()
