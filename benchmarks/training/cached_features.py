"""An epoch with a frozen encoder, with cached maps and without: the same losses, and how much faster.

    python -m benchmarks.training.cached_features [--encoder vit_base_patch16_224] [--epochs 3] [--flips]

Both runs train the default lpd (without colour augmentation and mosaics, which a cache rules out) on the patches of one
generated slide, 224 px at 0.5 um; some are held out and scored after every epoch, as usual. The encoder has random
weights, which take as long as trained ones. An epoch lasts from its first step to that of the next, validation
included; the first epoch is left out, and medians are compared. The runs follow one another; processor time is printed
beside wall-clock time, for machines that are shared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

from benchmarks.data import BenchSize, synthetic_cohort
from benchmarks.measuring import machine, parser_of, read_metrics
from wsi_lpd.config import load_config
from wsi_lpd.progress import Advance, Progress
from wsi_lpd.training.run.job import load_training_data, train

SIZE = BenchSize(
    n_slides=1,
    slide_px=4608,
    n_held_out=1,
    held_out_px=1792,
    scored_px=224,
    mpp=0.5,
    patch_px=224,
    steps=1,
    wsss4luad_steps=1,
    settings=(),
    reference_dim=152,
)
PLAIN = ("augment.mosaic=0", "augment.stain=0", "augment.brightness=0", "augment.contrast=0")
CACHED = ("train.cache_features=true",)


Clocks = tuple[float, float]
"""Wall-clock seconds, and processor seconds of this process."""


class Times(Progress):
    """Notes when each unit of a stage was done."""

    def __init__(self) -> None:
        self.of: dict[str, list[Clocks]] = {}

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Notes the start and every advance."""
        times = self.of.setdefault(name, [_now()])

        def advance(n: int) -> None:
            if n:
                times.append(_now())

        yield advance


def main() -> None:
    """Prints one JSON object."""
    options = _options()
    settings = (
        f"model.encoder={options.encoder}",
        "model.frozen=true",
        f"augment.flips={'true' if options.flips else 'false'}",
        f"train.epochs={options.epochs}",
        "train.batch_size=16",
        "train.workers=0",
        "train.log_every=1",
        "train.report=false",
        *options.set,
    )
    with tempfile.TemporaryDirectory() as folder:
        labels = synthetic_cohort(Path(folder) / "cohort", SIZE).labels
        without, losses = run(Path(folder) / "without", labels, (*settings, *PLAIN), options.device)
        cached, cached_losses = run(Path(folder) / "cached", labels, (*settings, *CACHED), options.device)
        n_bytes = sum(file.stat().st_size for file in (Path(folder) / "cached" / "features").rglob("*"))
    report = {
        "encoder": options.encoder,
        "flips": options.flips,
        "epoch_s": round(without["epoch_s"], 2),
        "cached_epoch_s": round(cached["epoch_s"], 2),
        "times_faster": round(without["epoch_s"] / cached["epoch_s"], 1),
        "epoch_cpu_s": round(without["epoch_cpu_s"], 2),
        "cached_epoch_cpu_s": round(cached["epoch_cpu_s"], 2),
        "times_less_cpu": round(without["epoch_cpu_s"] / cached["epoch_cpu_s"], 1),
        "building_cpu_s": round(cached["building_cpu_s"], 1),
        "cache_mb": round(n_bytes / 1e6, 1),
        "steps": len(losses),
        "largest_relative_difference_of_losses": max(
            abs(a - b) / abs(b) for a, b in zip(cached_losses, losses, strict=True)
        ),
        "threads": torch.get_num_threads(),
        "machine": machine(),
    }
    print(json.dumps(report, indent=1))


def run(folder: Path, labels: Path, settings: Sequence[str], device: str) -> tuple[dict[str, float], list[float]]:
    """Seconds of an epoch and of building the cache, and the loss of every step and validation."""
    config = load_config(None, settings)
    times = Times()
    data = load_training_data([labels], [], config)
    trained = train(data, config, runs_dir=folder, out=folder / "run", device=device, progress=times)
    per_epoch = len(data.training) // config.train.batch_size
    starts = times.of["training"][1::per_epoch]  # the end of every epoch's first step
    building = times.of.get("features", [(0.0, 0.0)])
    losses = [float(line["loss"]) for line in read_metrics(trained.path)]
    epochs = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(starts)]
    seconds = {
        "epoch_s": median(wall for wall, _ in epochs),
        "epoch_cpu_s": median(cpu for _, cpu in epochs),
        "building_cpu_s": building[-1][1] - building[0][1],
    }
    return seconds, losses


def _now() -> Clocks:
    return time.perf_counter(), time.process_time()


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--encoder", default="vit_base_patch16_224", help="with random weights")
    parser.add_argument("--epochs", type=int, default=3, help="of each run, 2 or more")
    parser.add_argument("--flips", action="store_true", help="train on all eight flips and rotations")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--set", action="append", default=[], help="key=value for both")
    return parser.parse_args()


if __name__ == "__main__":
    main()
