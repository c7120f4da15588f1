"""The commands that are compared: those of the three verbs on a small synthetic slide, or one given by hand."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.commits.checkout import Checkout
from benchmarks.measuring import Command, Measured, read_metrics

OUT: Final = "{out}"
"""Stands in a command line for a path that does not exist yet."""
SLIDE_SIZE: Final = "6144x5120"
PATCH_MPP, PATCH_PX = "0.5", "224"
TRAINING: Final = (
    "tile.mpp=0.5",
    "tile.patch_px=224",
    "train.batch_size=8",
    "train.epochs=1000",
    "train.log_every=2",
    "train.val_fraction=0",
    "train.workers=0",
    "train.report=false",
)
_NO_WORK: Final = float("nan")


@dataclass(frozen=True)
class Case:
    """A command line, and how to read the seconds of its work from what it leaves.

    Attributes:
        name: In tables.
        words: After `wsi-lpd`; `OUT` stands for a fresh path.
        work_s: Seconds of the work alone, without start-up and imports, from the measured run and `OUT`.
    """

    name: str
    words: tuple[str | Path, ...]
    work_s: Callable[[Measured, Path], float] = lambda measured, out: _NO_WORK

    def command(self, out: Path) -> Command:
        """The words with `out` in place of `OUT`."""
        return [str(word).replace(OUT, str(out)) for word in self.words]


@dataclass(frozen=True)
class Inputs:
    """What the built-in commands read: a slide, its truth, patches and a model; all written by one checkout.

    Attributes:
        folder: Of all of it.
        checkout: Writes what is missing; the older commit, as newer ones read its files.
        steps: Of a training.
    """

    folder: Path
    checkout: Checkout
    steps: int

    @property
    def slide(self) -> Path:
        """A synthetic slide."""
        self._make(self.folder / "synth-7.svs", "synth", "--size", SLIDE_SIZE, "--seed", "7", "--out", self.folder)
        return self.folder / "synth-7.svs"

    @property
    def labels(self) -> Path:
        """Its patches with labels from its truth."""
        truth = self.slide.with_name("synth-7.truth.geojson")
        labels = self.folder / "patches" / "patches.csv"
        words = (*_tile_words(self.slide, labels.parent), "--annotations", truth, "--annotations-complete")
        self._make(labels, *words)
        return labels

    @property
    def model(self) -> Path:
        """The run of a training of two steps."""
        run = self.folder / "model"
        self._make(run / "model.json", *_train_words(self.labels, run, 2))
        return run

    def _make(self, path: Path, *words: str | Path) -> None:
        if not path.is_file():
            self.checkout.run(words)


def _tile(inputs: Inputs) -> Case:
    return Case("tile", (*_tile_words(inputs.slide, OUT), "--json"), lambda measured, _: _seconds_of_slide(measured))


def _segment(inputs: Inputs) -> Case:
    words = ("segment", inputs.slide, "--model", inputs.model, "--out", f"{OUT}.geojson", "--device", "cpu", "--json")
    return Case("segment", words, lambda measured, _: _seconds_of_slide(measured))


def _train(inputs: Inputs) -> Case:
    return Case(
        f"train, {inputs.steps} steps", _train_words(inputs.labels, OUT, inputs.steps), lambda _, out: step_s(out)
    )


PARTS: dict[str, Callable[[Inputs], Case]] = {"tile": _tile, "segment": _segment, "train": _train}


def given(words: Sequence[str]) -> Case:
    """A command line of the caller's."""
    return Case(words[0], tuple(words))


def step_s(run: Path) -> float:
    """Median seconds of a training step, without the first line of `metrics.csv`, which includes the start."""
    batch = next(int(setting.partition("=")[2]) for setting in TRAINING if setting.startswith("train.batch_size"))
    lines = read_metrics(run, "train")[1:]
    return statistics.median(batch / float(line["patches_per_s"]) for line in lines)


def _seconds_of_slide(measured: Measured) -> float:
    (slide,) = measured.summary["slides"]
    seconds = slide["seconds"]
    return float(sum(seconds.values())) if isinstance(seconds, dict) else float(seconds)


def _tile_words(slide: Path, out: str | Path) -> tuple[str | Path, ...]:
    return ("tile", slide, "--out", out, "--mpp", PATCH_MPP, "--patch-size", PATCH_PX, "--threads", "2")


def _train_words(labels: Path, out: str | Path, steps: int) -> tuple[str | Path, ...]:
    settings = (*TRAINING, f"train.max_steps={steps}")
    given = [word for setting in settings for word in ("--set", setting)]
    return ("train", "--labels", labels, "--out", out, "--device", "cpu", *given)
