"""What self-supervised pretraining is worth: lpd from random weights and from `wsi-lpd pretrain`, equal steps.

    python -m benchmarks.methods.pretrain --out bench-pretrain [--seeds 3] [--size cpu]

On the synthetic cohort of `compare.py`, with a tenth of the labels and with all. Each seed pretrains on the pixels of
all training patches, never on the images that are scored. Every run leaves one file in OUT/results and is not
repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import SIZES, BenchSize, Cohort, synthetic_cohort, synthetic_settings, write_share
from benchmarks.measuring import Estimate, heading, machine_line, parser_of, row
from benchmarks.methods.job import Files, Job, read_result
from benchmarks.methods.one_run import run_job
from benchmarks.methods.plan import ENDLESS_EPOCHS, chosen_size
from benchmarks.methods.resample import METRICS, SeededCounts
from wsi_lpd.config import load_config
from wsi_lpd.errors import WsiLpdError
from wsi_lpd.files import write_text
from wsi_lpd.labels.unlabelled import read_unlabelled
from wsi_lpd.pretraining.run import pretrain

SHARES = {"tenth": 0.1, "all": 1.0}
"""How many of the labels are kept."""
STARTS = {
    "random": (),
    "pretrained": ("train.learning_rate=1e-3",),
    "pretrained-fast": ("train.learning_rate=1.2e-2",),
}
"""Settings by what the encoder starts from; the two rates are the defaults for given and for random weights."""
GATE = "predicted"


def main() -> None:
    """Pretrains, trains what is missing, and prints the table."""
    options = _options()
    print(machine_line(), file=sys.stderr)
    try:
        size = chosen_size(options)
        cohorts = {share: _with_labels(options.out, size, share) for share in options.shares}
        for seed in range(options.seeds):
            if options.starts != ["random"]:
                _pretrain(options, size, seed)
            for share, cohort in cohorts.items():
                for start in options.starts:
                    _run(_job(share, start, seed, size, _weights(options, seed)), cohort, options)
    except WsiLpdError as err:
        sys.exit(f"error: {err}")
    table = "\n".join(_table(options))
    write_text(options.out / "table.md", f"{machine_line()}\n\n{table}\n")
    print(table)


def _with_labels(out: Path, size: BenchSize, share: str) -> Cohort:
    """The synthetic cohort, or a copy of it that keeps the labels of some patches, the same for every seed."""
    whole = synthetic_cohort(out / "cohorts" / "synthetic", size)
    if SHARES[share] == 1.0:
        return whole
    cohort = Cohort(f"synthetic-{share}", out / "cohorts" / share)
    if not cohort.folder.is_dir():
        cohort.folder.mkdir()
        (cohort.folder / "held-out").symlink_to((whole.folder / "held-out").resolve())
    if not cohort.labels.is_file():
        write_share(whole.labels, cohort.labels, SHARES[share])
    return cohort


def _weights(options: argparse.Namespace, seed: int) -> Path:
    return Path(options.out, "starts", str(seed))


def _pretrain(options: argparse.Namespace, size: BenchSize, seed: int) -> None:
    """Pretrains the weights of a seed on the patches of all stores of the cohort."""
    settings = (*synthetic_settings(size), *size.settings, *options.set, f"train.seed={seed}")
    table = read_unlabelled([options.out / "cohorts" / "synthetic" / "patches"])
    started = time.perf_counter()
    done = pretrain(table, load_config(None, settings), out=_weights(options, seed), device=options.device)
    duration = "was finished" if done.was_finished else f"{(time.perf_counter() - started) / 60:.1f} min"
    print(f"pretraining, seed {seed}: {len(table)} patches, {done.metrics}, {duration}", file=sys.stderr, flush=True)


def _job(share: str, start: str, seed: int, size: BenchSize, weights: Path) -> Job:
    given = () if start == "random" else (f"model.weights={weights}",)
    settings = (
        *synthetic_settings(size),
        *size.settings,
        f"train.max_steps={size.steps}",
        f"train.epochs={ENDLESS_EPOCHS}",
        "train.report=false",
        *given,
        *STARTS[start],
        f"train.seed={seed}",
    )
    return Job(share, start, seed, settings, ("none",))


def _run(job: Job, cohort: Cohort, options: argparse.Namespace) -> None:
    files = Files(options.out)
    if files.result(job).is_file():
        return
    result = run_job(job, cohort, run=files.run(job), device=options.device)
    write_text(files.result(job), json.dumps(result))
    print(f"{job.name}: {result['train_s']:.0f} s, {result['validation']}", file=sys.stderr, flush=True)


def _table(options: argparse.Namespace) -> Iterator[str]:
    yield heading(("labels", "start", "seeds", *METRICS))
    for share in options.shares:
        found = {start: _counts(options, share, start) for start in options.starts}
        for start, counts in found.items():
            yield _line(share, start, counts.seeds, counts.estimates())
        for start, counts in found.items():
            if start != "random" and "random" in found:
                yield _line(share, f"{start} - random", counts.seeds, counts.minus(found["random"]), signed=True)


def _counts(options: argparse.Namespace, share: str, start: str) -> SeededCounts:
    results: dict[int, dict[str, Any]] = {}
    for seed in range(options.seeds):
        path = options.out / "results" / f"{share}-{start}-{seed}.json"
        results[seed] = read_result(path)["scored"]["none"][GATE]
    return SeededCounts.of_runs(results)


def _line(share: str, start: str, seeds: Sequence[int], estimates: dict[str, Estimate], *, signed: bool = False) -> str:
    return row((share, start, len(seeds), *(estimate.text(signed=signed) for estimate in estimates.values())))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-pretrain"), help="folder of all files")
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu", help="see benchmarks/data/sizes.py")
    parser.add_argument("--seeds", type=int, default=3, help="of each start")
    parser.add_argument("--shares", nargs="+", choices=tuple(SHARES), default=list(SHARES), help="of the labels")
    parser.add_argument("--starts", nargs="+", choices=tuple(STARTS), default=list(STARTS), help="of the encoder")
    parser.add_argument("--steps", type=int, help="optimiser steps with labels")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--set", action="append", default=[], help="key=value for the pretraining")
    return parser.parse_args()


if __name__ == "__main__":
    main()
