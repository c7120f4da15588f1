"""The whole workflow on synthetic slides, from tiling to an evaluated tissue map; `make demo` runs it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wsi_lpd
from wsi_lpd.config import Config, load_config
from wsi_lpd.evaluation.evaluation import evaluate_files
from wsi_lpd.files import write_text
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.saved.card import load_card
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.segmentation.job import SegmentJob
from wsi_lpd.segmentation.outputs import Outputs
from wsi_lpd.synthetic import SYNTHETIC_CLASSES, SyntheticSlide, find_synthetic_slide, write_synthetic_slide
from wsi_lpd.tiling.job import TileJob
from wsi_lpd.tiling.slide_task import LabelSource, SlideTask
from wsi_lpd.training.run.job import TrainedRun, load_training_data, train
from wsi_lpd.types import Size

HELD_OUT_SEED_STEP = 1000
"""Distance of the held-out slide's seed from the training slides' seeds."""


@dataclass(frozen=True)
class DemoSize:
    """The size of a demo run."""

    n_slides: int
    slide_px: int
    held_out_px: int
    settings: tuple[str, ...]
    on_processors: tuple[str, ...] = ()
    """Additional settings for machines with several cores and no GPU."""


FULL = DemoSize(
    n_slides=8,
    slide_px=8192,
    held_out_px=8192,
    settings=(
        "tile.stride_px=32",
        "train.max_steps=4000",
        "segment.views=8",
        "segment.overlap=0.6",
        "segment.refine=pamr",
        "segment.output_stride=2",
        "segment.min_hole_um2=5000",
    ),
    on_processors=("train.processes=2", "train.batch_size=16"),
)
"""Two processes train on half a batch each: the same steps, 1.5 times as fast as one process with two threads."""
QUICK = DemoSize(n_slides=2, slide_px=3072, held_out_px=3072, settings=("train.max_steps=40",))
"""Shows in about a minute that everything works; too short a training for a good map."""

DEMO_SETTINGS = ("name=demo", "tile.mpp=1.0", "tile.patch_px=64")
"""Patches of 64 um: small enough to hold one or two tissues, and cheap enough to train on with two cores."""


@dataclass(frozen=True)
class DemoResult:
    """The files of the demo and its metrics."""

    overlay: Path
    picture: Path
    slide: Path
    run: Path
    metrics: dict[str, Any]


@dataclass
class _Stopwatch:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)


def run_demo(
    out: Path,
    size: DemoSize,
    *,
    seed: int = 0,
    settings: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = SILENT,
    tell: Callable[[str], None] = lambda text: None,
) -> DemoResult:
    """Generates slides, tiles and labels them, trains a model, segments a held-out slide and evaluates the map.

    Finished stages are skipped, so re-running a stopped demo resumes it.

    Args:
        out: Folder for everything.
        size: `FULL` or `QUICK`.
        seed: Seed of the slides and of the training.
        settings: `key=value` pairs that override the demo's configuration, for comparisons.
        device: Where the network runs.
        progress: Receives the progress of each stage.
        tell: Called with one line before each stage.
    """
    shared = size.on_processors if choose_device(device).type == "cpu" and (os.cpu_count() or 1) > 1 else ()
    config = load_config(None, (*DEMO_SETTINGS, f"train.seed={seed}", *size.settings, *shared, *settings))
    watch = _Stopwatch()
    tell(f"1/5 generating {size.n_slides} training slides and one held-out slide")
    with watch.stage("synth"):
        learning, held_out = _slides(out / "slides", size, seed, progress)
    tell("2/5 tiling: patches with image-level labels")
    with watch.stage("tile"):
        labels = _tile(out / "patches", learning, config, progress)
    tell("3/5 training on the image-level labels alone")
    with watch.stage("train"):
        run = _train(out, labels, config, device, progress)
    tell("4/5 segmenting the held-out slide, without any label")
    with watch.stage("segment"):
        outputs = Outputs(out / "mask.geojson", out / "mask.ome.tif", out / "overlay.png")
        job = SegmentJob.prepare(run.path, config.segment, device=device, progress=progress)
        job.run(str(held_out.path), outputs, overwrite=True)
    tell("5/5 comparing the tissue map with the ground truth")
    with watch.stage("evaluate"):
        report = evaluate_files(outputs.overlay, held_out.truth_image, classes=SYNTHETIC_CLASSES)
    metrics = _metrics(report, run, config, held_out, watch.seconds)
    write_text(out / "metrics.json", json.dumps(metrics, indent=1))
    return DemoResult(outputs.overlay, out / "overlay.png", held_out.path, run.path, metrics)


def _slides(folder: Path, size: DemoSize, seed: int, progress: Progress) -> tuple[list[SyntheticSlide], SyntheticSlide]:
    learning_side, held_out_side = Size(size.slide_px, size.slide_px), Size(size.held_out_px, size.held_out_px)
    first = seed * 2 * HELD_OUT_SEED_STEP
    learning = [
        _slide(folder / f"train-{i}.svs", learning_side, first + i, progress) for i in range(1, size.n_slides + 1)
    ]
    return learning, _slide(folder / "held-out.svs", held_out_side, first + HELD_OUT_SEED_STEP, progress)


def _slide(path: Path, size_px: Size, seed: int, progress: Progress) -> SyntheticSlide:
    found = find_synthetic_slide(path, size_px=size_px, seed=seed)
    return write_synthetic_slide(path, size_px=size_px, seed=seed, progress=progress) if found is None else found


def _tile(folder: Path, slides: list[SyntheticSlide], config: Config, progress: Progress) -> Path:
    truth = LabelSource(SYNTHETIC_CLASSES, slides[0].path.parent / "*.truth.geojson", complete=True)
    job = TileJob(SlideTask(folder, config.tile, n_slides=len(slides), labels=truth))
    for slide in slides:
        job.run(slide.path, progress=progress)
    job.finish()
    return job.task.csv_path


def _train(out: Path, labels: Path, config: Config, device: str, progress: Progress) -> TrainedRun:
    data = load_training_data([labels], [], config)
    return train(data, config, runs_dir=out / "runs", out=out / "runs" / "demo", device=device, progress=progress)


def _metrics(
    report: Any, run: TrainedRun, config: Config, held_out: SyntheticSlide, seconds: dict[str, float]
) -> dict[str, Any]:
    scores = report.scores("B")
    return {
        "miou": round(scores.miou, 4),
        "protocol": "B: every pixel of the held-out slide counts; tissue predicted on glass is a false positive",
        "per_class_iou": {name: round(value, 4) for name, value in scores.iou.items()},
        "mdice": round(scores.mdice, 4),
        "miou_protocol_a": round(report.scores("A").miou, 4),
        "image_labels": {name: round(value, 4) for name, value in run.metrics.items()},
        "seed": config.train.seed,
        "held_out_slide_seed": held_out.seed,
        "versions": {"wsi-lpd": wsi_lpd.__version__, **load_card(run.path).versions},
        "seconds": seconds,
    }
