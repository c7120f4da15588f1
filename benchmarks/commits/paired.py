"""The same command lines on this checkout and on another commit, by turns: ratios of time and of peak memory.

    python -m benchmarks.commits.paired --base 514b650 [--parts tile,segment,train] [--repeats 5]
    python -m benchmarks.commits.paired --base FOLDER -- tile SLIDE --out {out} --mpp 0.5

Without a command line, `tile`, `segment` and a short training run on a small synthetic slide. `{out}` in a command line
becomes a fresh path for every run. A first round warms up and is not counted; the order changes from round to round.
Ratios are this checkout divided by the base: medians over the rounds with 95 % bootstrap intervals. `work` is what the
command itself says it took (of a training: a step), without start-up and imports.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.commits.cases import PARTS, Case, Inputs, given
from benchmarks.commits.checkout import Checkout, opened
from benchmarks.measuring import (
    ROOT,
    Measured,
    RunFailedError,
    machine_line,
    names_among,
    numbers,
    parser_of,
    ratio_estimate,
    table,
)
from wsi_lpd.errors import WsiLpdError

COLUMNS = ("command", "base, s", "here, s", "wall", "processor", "work", "peak memory", "base, MB", "here, MB")


def main() -> None:
    """Prints one table."""
    options = _options()
    try:
        with (
            opened(options.base, "base") as base,
            opened(str(ROOT), "here") as here,
            tempfile.TemporaryDirectory(prefix="wsi-lpd-paired-") as folder,
        ):
            inputs = Inputs(Path(folder) / "inputs", base, options.steps)
            inputs.folder.mkdir()
            cases = [given(options.words)] if options.words else [PARTS[name](inputs) for name in options.parts]
            lines = [_line(case, base, here, options.repeats, Path(folder)) for case in cases]
            commits = f"{here.commit} / {base.commit}"
    except (WsiLpdError, RunFailedError) as err:
        sys.exit(f"error: {err}")
    print(f"{commits}, {options.repeats} rounds; {machine_line()}\n\n{table(COLUMNS, lines)}")


def _line(case: Case, base: Checkout, here: Checkout, repeats: int, folder: Path) -> Sequence[object]:
    runs: dict[str, list[Measured]] = {base.name: [], here.name: []}
    for i in range(repeats + 1):
        for checkout in (base, here) if i % 2 else (here, base):
            measured = _measured(case, checkout, folder / "out")
            runs[checkout.name].append(measured)
            print(f"round {i} of {repeats}: {case.name}, {checkout.name} {measured.wall_s:.1f} s", file=sys.stderr)
    return _cells(case.name, *(found[1:] for found in runs.values()))


def _measured(case: Case, checkout: Checkout, folder: Path) -> Measured:
    """One run, whose files are removed."""
    folder.mkdir()
    out = folder / "out"
    measured = checkout.run(case.command(out))
    measured = replace(measured, summary={"work_s": case.work_s(measured, out)})
    shutil.rmtree(folder)
    return measured


def _cells(name: str, base: Sequence[Measured], here: Sequence[Measured]) -> Sequence[object]:
    seconds, peaks = ([_median(runs, number) for runs in (base, here)] for number in ("wall_s", "peak_mb"))
    ratios = {number: _ratio(base, here, number) for number in ("wall_s", "cpu_s", "work_s", "peak_mb")}
    return (name, *(f"{s:.2f}" for s in seconds), *ratios.values(), *(f"{peak:.0f}" for peak in peaks))


def _median(runs: Sequence[Measured], number: str) -> float:
    return statistics.median(numbers(runs, number))


def _ratio(base: Sequence[Measured], here: Sequence[Measured], number: str) -> str:
    estimate = ratio_estimate(numbers(here, number), numbers(base, number))
    return "" if math.isnan(estimate.mean) else estimate.text()


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--base", required=True, help="commit of this repository, or folder of another checkout")
    parser.add_argument("--parts", type=names_among(PARTS, "part"), default=list(PARTS), help="separated by commas")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count")
    parser.add_argument("--steps", type=int, default=12, help="of the training, 6 or more")
    parser.add_argument("words", nargs="*", metavar="WORD", help="after --: a command line of wsi-lpd, in their place")
    options = parser.parse_args()
    if options.repeats < 1 or options.steps < 6:
        parser.error("--repeats must be 1 or more, --steps 6 or more")
    return options


if __name__ == "__main__":
    main()
