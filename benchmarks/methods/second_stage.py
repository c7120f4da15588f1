"""What a second stage is worth on a whole slide: the demo's model against decoders trained on its pseudo masks.

    python -m benchmarks.methods.second_stage --demo demo --out bench-second-stage [--share 0.25] [--steps 2400]

Makes pseudo masks of a share of the demo's patches, trains a decoder from the first stage's encoder, segments the
held-out slide with both models (no gate, otherwise the demo's settings) and scores the overlays. With `--rounds`, each
decoder makes the masks of the next. Existing files are kept. Everything is done by commands that a user would type;
they are printed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import write_share
from benchmarks.measuring import TOOL, heading, machine_line, parser_of, row
from wsi_lpd.models.saved.card import load_card

PROTOCOLS = ("B", "A")


def main() -> None:
    """Runs what is missing and prints a line per stage."""
    options = _options()
    print(machine_line(), file=sys.stderr)
    first, out = options.demo / "runs" / "demo", options.out
    out.mkdir(parents=True, exist_ok=True)
    labels = out / "patches.csv"
    if not labels.is_file():
        write_share(options.demo / "patches" / "patches.csv", labels, options.share)
    stages = {"first stage": first}
    for number in range(1, options.rounds + 1):
        stages[f"decoder, round {number}"] = _decoder(options, labels, first, [*stages.values()][-1], number)
    print(heading(("model", "gate", "mIoU, B", "mIoU, A", "IoU per class, B")))
    for name, run in stages.items():
        scores = _scores(options, run, out / f"{name.replace(', ', '-').replace(' ', '-')}.geojson")
        of_classes = ", ".join(f"{label} {one['iou']:.3f}" for label, one in scores["B"]["per_class"].items())
        overall = (f"{scores[protocol]['miou']:.4f}" for protocol in PROTOCOLS)
        print(row((name, "none", *overall, of_classes)), flush=True)


def _decoder(options: argparse.Namespace, labels: Path, first: Path, teacher: Path, number: int) -> Path:
    """A decoder trained on the masks of `teacher`, starting from the encoder of `first`."""
    masks, run = Path(options.out, f"masks-{number}"), Path(options.out, f"decoder-{number}")
    of_masks = [setting for setting in options.set if setting.startswith("masks.")]
    _call(options, "pseudo-mask", "--labels", labels, "--model", teacher, "--out", masks, *_given(of_masks))
    tile = load_card(first).config.tile
    settings = (
        "method=decoder",
        f"tile.mpp={tile.mpp}",
        f"tile.patch_px={tile.patch_px}",
        f"model.weights={first}",
        f"train.max_steps={options.steps}",
        "train.epochs=1000",
        "train.workers=0",
        f"train.seed={options.seed}",
        *options.set,
    )
    _call(options, "train", "--labels", labels, "--masks", masks, "--out", run, *_given(settings))
    return run


def _scores(options: argparse.Namespace, run: Path, overlay: Path) -> dict[str, Any]:
    """The slide's map, written and scored, by protocol."""
    slides, demo = options.demo / "slides", load_card(options.demo / "runs" / "demo").config.segment
    names = ("views", "overlap", "refine", "output_stride", "min_hole_um2")
    as_demo = [f"segment.{name}={json.dumps(getattr(demo, name))}" for name in names]
    given = _given([*as_demo, *(setting for setting in options.set if setting.startswith("segment."))])
    if not overlay.is_file():
        _call(options, "segment", slides / "held-out.svs", "--model", run, "--out", overlay, "--gate", "none", *given)
    printed = _call(None, "evaluate", overlay, "--truth", slides / "held-out.truth.tif", "--draws", 0, "--json")
    return dict(json.loads(printed)["protocols"])


def _given(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def _call(options: argparse.Namespace | None, *words: Path | str | int) -> str:
    """Runs a command of the tool; returns what it prints on stdout."""
    device = [] if options is None else ["--device", options.device]
    command = [str(TOOL), *map(str, words), *device]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(f"{time.perf_counter() - started:.0f} s: wsi-lpd {shlex.join(command[1:])}", file=sys.stderr, flush=True)
    if done.returncode:
        sys.exit(f"error: wsi-lpd {words[0]} ended with status {done.returncode}")
    return done.stdout


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder of `make demo`")
    parser.add_argument("--out", type=Path, default=Path("bench-second-stage"), help="folder of all files")
    parser.add_argument("--share", type=float, default=0.25, help="of the patches, which overlap by half")
    parser.add_argument("--steps", type=int, default=2400, help="of each decoder")
    parser.add_argument("--rounds", type=int, default=1, help="decoders, each trained on the masks of the one before")
    parser.add_argument("--seed", type=int, default=0, help="of the decoders")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--set", action="append", default=[], help="key=value for decoders, their masks and the slide")
    options = parser.parse_args()
    for needed in ("runs/demo/model.json", "patches/patches.csv", "slides/held-out.svs"):
        if not (options.demo / needed).is_file():
            sys.exit(
                f"error: --demo {options.demo}: found no {needed}; run `make demo`, or name the folder that it wrote"
            )
    if min(options.steps, options.rounds) < 1 or not 0 < options.share <= 1:
        parser.error("--steps and --rounds must be 1 or more, --share above 0 and at most 1")
    return options


if __name__ == "__main__":
    main()
