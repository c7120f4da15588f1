"""What a training step of the default lpd costs against cam, and how long training waits for its data.

    python -m benchmarks.training.step [--repeats 30] [--patch-px 64] [--device auto] [--set key=value]

Both train the same encoder on the same batch, at nine tenths of the training, where every term counts; a step is that
of the trainer (augmentation, forward, teacher, backward, update). They take turns; the ratio is the median over the
turns. The share of waiting is that of a short run of the default lpd on the patch stores of generated slides.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

import torch
from torch import Tensor

from benchmarks.data import SIZES, synthetic_cohort, synthetic_settings
from benchmarks.measuring import machine, median_ratio, parser_of, read_metrics, seconds_of
from wsi_lpd.config import Config, load_config
from wsi_lpd.methods.base import Place
from wsi_lpd.models.device import choose_device
from wsi_lpd.training.data.batches import Batch
from wsi_lpd.training.learner import Learner
from wsi_lpd.training.run.job import load_training_data, train

CLASSES = ("Tumor", "Stroma", "Immune cells", "Necrosis")
TOTAL = 10_000
LATE = 9_001
"""Nine tenths of `TOTAL`, and not a step at which unused prototypes are moved."""
N_WARM_UP = 3
RUN_STEPS = 50
LOG_EVERY = 10


def main() -> None:
    """Prints one JSON object."""
    options = _options()
    device = choose_device(options.device)
    report = {
        **compared(device, options.repeats, (f"tile.patch_px={options.patch_px}", *options.set)),
        "data_wait": waited(options.device, options.set),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "machine": machine(),
    }
    print(json.dumps(report, indent=1))


def compared(device: torch.device, repeats: int, settings: Sequence[str]) -> dict[str, object]:
    """Median milliseconds of a step of each, and the median of the paired ratios."""
    configs = {method: load_config(None, (*settings, f"method={method}")) for method in ("cam", "lpd")}
    learners = {
        method: Learner(config, class_names=CLASSES, positive_weights=torch.ones(len(CLASSES)), device=device)
        for method, config in configs.items()
    }
    batch = random_batch(configs["lpd"], seed=0)
    terms = learners["lpd"].step(Place(LATE, TOTAL, TOTAL), [batch], logged=True)
    turns = []
    for i in range(N_WARM_UP + repeats):
        order = ("cam", "lpd") if i % 2 else ("lpd", "cam")
        turns.append({method: _seconds(learners[method], i, batch, device) for method in order})
    cam_s, lpd_s = ([turn[method] for turn in turns[N_WARM_UP:]] for method in ("cam", "lpd"))
    return {
        "encoder": configs["lpd"].model.encoder,
        "batch_size": configs["lpd"].train.batch_size,
        "patch_px": configs["lpd"].tile.patch_px,
        "repeats": repeats,
        "cam_ms": round(1000 * median(cam_s), 2),
        "lpd_ms": round(1000 * median(lpd_s), 2),
        "lpd_over_cam": round(median_ratio(lpd_s, cam_s), 3),
        "terms_of_lpd": sorted(terms or {}),
    }


def random_batch(config: Config, *, seed: int) -> Batch:
    """Patches uint8 (B, S, S, 3), blotches of two sizes, and labels int8 (B, C) of which each has a positive."""
    generator = torch.Generator().manual_seed(seed)
    count, side = config.train.batch_size, config.tile.patch_px
    coarse, fine = (torch.rand((count, 3, n, n), generator=generator) for n in (5, 23))
    pixels = sum(torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic") for noise in (coarse, fine))
    assert isinstance(pixels, Tensor)
    patches = (pixels.clamp(0, 2) * 127).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    labels = (torch.rand((count, len(CLASSES)), generator=generator) < 0.4).to(torch.int8)
    labels[torch.arange(count), torch.arange(count) % len(CLASSES)] = 1
    return Batch(patches, labels)


def waited(device: str, settings: Sequence[str]) -> dict[str, object]:
    """Share of its time that a short run of the default lpd waits for batches."""
    size = SIZES["tiny"]
    with tempfile.TemporaryDirectory() as folder:
        cohort = synthetic_cohort(Path(folder) / "cohort", size)
        of_run = (f"train.max_steps={RUN_STEPS}", "train.epochs=1000", f"train.log_every={LOG_EVERY}")
        alone = ("train.val_fraction=0", "train.report=false")
        config = load_config(None, (*synthetic_settings(size), *of_run, *alone, *settings))
        run = train(
            load_training_data([cohort.labels], [], config),
            config,
            runs_dir=Path(folder),
            out=Path(folder) / "run",
            device=device,
        )
        rows = read_metrics(run.path, "train")[1:]  # the first includes the start of the workers
    return {
        "share": round(mean(float(row["data_wait"]) for row in rows), 5),
        "patches_per_s": round(mean(float(row["patches_per_s"]) for row in rows), 1),
        "steps": RUN_STEPS,
        "workers": config.train.workers,
        "batch_size": config.train.batch_size,
        "patch_px": config.tile.patch_px,
    }


def _seconds(learner: Learner, number: int, batch: Batch, device: torch.device) -> float:
    place = Place(LATE + 1 + number, TOTAL, TOTAL)
    return seconds_of(lambda: learner.step(place, [batch], logged=False), device)


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=30, help="turns of each")
    parser.add_argument("--patch-px", type=int, default=64, help="side of a patch")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--set", action="append", default=[], help="key=value for both")
    return parser.parse_args()


if __name__ == "__main__":
    main()
