"""What a self-supervised start is worth: lpd from random weights against lpd from `wsi-lpd pretrain`, equal steps.

    python benchmarks/pretrain.py --out bench-pretrain [--seeds 3] [--size cpu]

On the synthetic cohort of `methods.py`, with a tenth of the labels and with all. Each seed pretrains on the pixels of
all training patches; images that are scored are seen by nobody. Every run leaves one file in OUT/results, and a
finished one is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cohorts import Cohort, patch_settings, synthetic_cohort, write_share
from machine import machine_line
from methods import ENDLESS_EPOCHS
from one_run import Job, run_job
from resample import METRICS, Estimate, SeededCounts
from sizes import SIZES, BenchSize

from wsi_lpd.config import load_config
from wsi_lpd.errors import WsiLpdError
from wsi_lpd.files import write_text
from wsi_lpd.labels.unlabelled import read_unlabelled
from wsi_lpd.pretraining.run import pretrain

SHARES = {"tenth": 0.1, "all": 1.0}
"""Of the labels."""
STARTS = {
    "random": (),
    "pretrained": ("train.learning_rate=1e-3",),
    "pretrained-fast": ("train.learning_rate=1.2e-2",),
}
"""The two rates are those that `train` takes from given and from random weights."""
GATE = "predicted"


def main() -> None:
    """Pretrains, trains what is missing, and prints the table."""
    options = _options()
    print(machine_line(), file=sys.stderr)
    try:
        size = replace(SIZES[options.size], **({} if options.steps is None else {"steps": options.steps}))
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
    """Makes the weights of a seed, on the patches of all stores of the cohort."""
    settings = (*patch_settings("synthetic", size), *size.settings, *options.set, f"train.seed={seed}")
    table = read_unlabelled([options.out / "cohorts" / "synthetic" / "patches"])
    work_left = time.perf_counter()
    done = pretrain(table, load_config(None, settings), out=_weights(options, seed), device=options.device)
    printed = "finished already" if done.was_finished else f"{(time.perf_counter() - work_left) / 60:.1f} min"
    print(f"start {seed}: {len(table)} patches, {done.metrics}, {printed}", file=sys.stderr, flush=True)


def _job(share: str, start: str, seed: int, size: BenchSize, weights: Path) -> Job:
    given = () if start == "random" else (f"model.weights={weights}",)
    settings = (
        *patch_settings("synthetic", size),
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
    path = options.out / "results" / f"{job.name}.json"
    if path.is_file():
        return
    result = run_job(job, cohort, run=options.out / "runs" / job.name, device=options.device)
    write_text(path, json.dumps(result))
    print(f"{job.name}: {result['train_s']:.0f} s, {result['validation']}", file=sys.stderr, flush=True)


def _table(options: argparse.Namespace) -> Iterator[str]:
    yield f"| labels | start | seeds | {' | '.join(METRICS)} |"
    yield f"| --- | --- | --- {'| --- ' * len(METRICS)}|"
    for share in options.shares:
        found = {start: _counts(options, share, start) for start in options.starts}
        for start, counts in found.items():
            yield _line(share, start, counts.seeds, counts.estimates())
        for start, counts in found.items():
            if start != "random" and "random" in found:
                yield _line(share, f"{start} - random", counts.seeds, counts.minus(found["random"]), sign="+")


def _counts(options: argparse.Namespace, share: str, start: str) -> SeededCounts:
    results: dict[int, dict[str, Any]] = {}
    for seed in range(options.seeds):
        path = options.out / "results" / f"{share}-{start}-{seed}.json"
        results[seed] = json.loads(path.read_text(encoding="utf-8"))["scored"]["none"][GATE]
    return SeededCounts.of_runs(results)


def _line(share: str, start: str, seeds: Sequence[int], estimates: dict[str, Estimate], *, sign: str = "") -> str:
    cells = [f"{e.mean:{sign}.3f} [{e.low:{sign}.3f}, {e.high:{sign}.3f}]" for e in estimates.values()]
    return f"| {share} | {start} | {len(seeds)} | {' | '.join(cells)} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench-pretrain"))
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu", help="see benchmarks/sizes.py")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", nargs="+", choices=tuple(SHARES), default=list(SHARES))
    parser.add_argument("--starts", nargs="+", choices=tuple(STARTS), default=list(STARTS))
    parser.add_argument("--steps", type=int, help="optimiser steps with labels")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="key=value for the pretraining")
    return parser.parse_args()


if __name__ == "__main__":
    main()
