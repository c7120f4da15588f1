"""`evaluate` as a function: how well an overlay, a mask or a model agrees with the truth."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from wsi_lpd.api.batch import Tell, own_errors, silent
from wsi_lpd.api.options import PathLike, Settings, class_names, configuration, one_of, optional_path
from wsi_lpd.datasets import DATA_SETS
from wsi_lpd.errors import OptionError
from wsi_lpd.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsi_lpd.api.model import Model
    from wsi_lpd.evaluation.protocols import GateName, ProtocolName, Scores
    from wsi_lpd.evaluation.report import Report

PROTOCOLS: Final[dict[str, tuple[ProtocolName, ...]]] = {
    "A": ("A",),
    "B": ("B",),
    "C": ("C",),
    "D": ("D",),
    "both": ("A", "B"),
    "all": ("A", "B", "C", "D"),
}
"""What each value of `--protocol` scores."""

GATES: Final[dict[str, tuple[GateName, ...]]] = {
    "none": ("none",),
    "predicted": ("predicted",),
    "oracle": ("oracle",),
    "all": ("none", "predicted", "oracle"),
}
"""What each value of `--gate` but `auto` predicts with."""

REFINEMENTS: Final = ("none", "pamr", "guided")
CODINGS: Final = ("index", *(entry.key for entry in DATA_SETS))
"""The keys of `wsi_lpd.evaluation.read.CODINGS`, which a test compares; importing those takes NumPy."""


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of a prediction.

    Attributes:
        reports: Pixel counts and what is made of them: one report for files, one per gate for a model.
        protocols: The protocols that were asked for.
        metrics: Plain values, as `wsi-lpd evaluate --json` prints them.
        files: What was written to `out`.
    """

    reports: tuple[Report, ...]
    protocols: tuple[ProtocolName, ...]
    metrics: dict[str, Any]
    files: tuple[Path, ...]

    def scores(self, protocol: ProtocolName, gate: GateName | None = None) -> Scores:
        """IoU, Dice and all else under one protocol; `gate` picks a report where there are several."""
        return next(r for r in self.reports if gate in (None, r.gate)).scores(protocol)

    def to_json(self) -> dict[str, Any]:
        """The metrics."""
        return self.metrics


def evaluate(
    prediction: PathLike | None = None,
    *,
    truth: PathLike,
    model: PathLike | Model | None = None,
    images: PathLike | None = None,
    classes: str | Sequence[str] | None = None,
    protocol: str = "both",
    gate: str = "auto",
    refine: str | None = None,
    coding: str = "index",
    prediction_coding: str | None = None,
    truth_downsample: float | None = None,
    slide_mpp: float | None = None,
    group_by: str = "source",
    draws: int = 10_000,
    boundary_px: int | None = None,
    out: PathLike | None = None,
    config: PathLike | None = None,
    settings: Settings = (),
    device: str = "auto",
    progress: Progress = SILENT,
    tell: Tell = silent,
) -> EvaluationResult:
    """Scores a prediction, or what a model predicts, against the truth: IoU, Dice, boundaries, confusion matrix.

    Args:
        prediction: Overlay (.geojson, .geojson.gz), mask (.tif, .png) or folder of masks; None with `model`.
        truth: The same kinds; with `model` a folder with `img/` and `mask/`.
        model: A run folder, or what `load_model` gives: predicts the images of `truth` without labels.
        images: With `model`: the folder of the images, if it is not `img/` beside the masks.
        classes: Classes to score, in the order of the values of plain masks.
        protocol: `A` leaves out true background; `B`, `D` count it; `C` also forbids predicted background; `both` is A
            and B; `all`.
        gate: With `model`: `auto`, `none`, `predicted`, `oracle` (a ceiling read off the truth, not a result), `all`.
        refine: With `model`: `none`, `pamr` or `guided`; None = from the configuration.
        coding: Values of plain masks: `index` (0 background, classes from 1) or those of a data set.
        prediction_coding: The same for the predicted masks, if they differ.
        truth_downsample: Level-0 pixels per pixel of a plain truth mask.
        slide_mpp: With `model`: micrometres per pixel of the images.
        group_by: What makes images one group for the intervals: `source`, `image`, or a regular expression.
        draws: Bootstrap draws for the 95 % intervals; 0 = no intervals.
        boundary_px: Depth of the boundary band in pixels; None = 2 % of the diagonal.
        out: Folder for metrics.json, per_image.csv, confusion.csv and confusion.png.
        config: A configuration file.
        settings: Any other configuration values.
        device: With `model`: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; a loaded model is on one already.
        progress: Told of every image.
        tell: Takes each line that the command prints before the scores.

    Returns:
        The scores; shares are 0 to 1.

    Raises:
        OptionError: If options contradict each other, or one has a value it cannot have.
        ConfigError: If a setting is wrong.
        LabelError, OverlayError, FileError: If prediction or truth cannot be read or compared.
        ModelError: If there is no such run or device.
    """
    _check(prediction, model, gate, {"images": images, "refine": refine, "slide-mpp": slide_mpp})
    _check_choices(protocol, gate, refine, coding, prediction_coding)
    shared: dict[str, Any] = {
        "classes": class_names(classes),
        "coding": coding,
        "group_by": group_by,
        "boundary_px": boundary_px,
    }
    with own_errors():
        if prediction is None:
            call = _OfModel(
                cast("PathLike | Model", model), Path(truth), gate, optional_path(images), slide_mpp, device
            )
            resolved = configuration(config, settings, {"segment.refine": refine}).segment
            reports, summary = call.reports(resolved, shared, progress, tell)
        else:
            shared |= {"prediction_coding": prediction_coding, "truth_downsample": truth_downsample}
            reports, summary = _of_files(Path(prediction), Path(truth), shared)
        asked = PROTOCOLS[protocol]
        summary |= _summary(reports, asked, draws)
        files = _written(out, reports, asked, summary, tell)
    return EvaluationResult(tuple(reports), asked, summary, tuple(files))


def _check(prediction: object, model: object, gate: str, of_models: dict[str, object]) -> None:
    if (prediction is None) == (model is None):
        raise OptionError("expected either a PREDICTION or --model RUN, and not both")
    given = [f"--{name}" for name, value in of_models.items() if value is not None]
    if prediction is not None and given:
        raise OptionError(f"{' and '.join(given)} only with --model")
    if prediction is not None and gate != "auto":
        raise OptionError("--gate only with --model: a prediction from a file is already gated")


def _check_choices(protocol: str, gate: str, refine: str | None, coding: str, prediction_coding: str | None) -> None:
    one_of("--protocol", protocol, tuple(PROTOCOLS))
    one_of("--gate", gate, ("auto", *GATES))
    one_of("--coding", coding, CODINGS)
    if refine is not None:
        one_of("--refine", refine, REFINEMENTS)
    if prediction_coding is not None:
        one_of("--prediction-coding", prediction_coding, CODINGS)


def _of_files(prediction: Path, truth: Path, options: dict[str, Any]) -> tuple[list[Report], dict[str, Any]]:
    from wsi_lpd.evaluation.evaluation import evaluate_files

    report = evaluate_files(prediction, truth, **options)
    return [report], {"prediction": str(prediction), "truth": str(truth)}


@dataclass
class _OfModel:
    """One evaluation of a model on a folder of images."""

    model: PathLike | Model
    truth: Path
    gate: str
    images: Path | None
    slide_mpp: float | None
    device: str

    def reports(
        self, config: Any, shared: dict[str, Any], progress: Progress, tell: Tell
    ) -> tuple[list[Report], dict[str, Any]]:
        """The reports under each gate, and what says where they come from."""
        from wsi_lpd.api.model import load_model
        from wsi_lpd.evaluation.model import evaluate_model
        from wsi_lpd.evaluation.true_images import open_true_folder

        model = self.model
        if isinstance(model, str | os.PathLike):
            model = load_model(model, device=self.device)
        model.check_device(self.device)
        predictor = model.predictor
        folder = open_true_folder(
            self.truth,
            classes=model.classes,
            model_mpp=model.mpp,
            images=self.images,
            coding=shared["coding"],
            named=shared["classes"],
            image_mpp=self.slide_mpp,
            group_by=shared["group_by"],
        )
        for warning in folder.warnings:
            tell(f"warning: {warning}")
        made = evaluate_model(
            predictor,
            folder,
            gates=GATES.get(self.gate, ("predicted" if predictor.gates("auto") else "none",)),
            refinement=config.refine,
            progress=progress,
            config=config,
            boundary_px=shared["boundary_px"],
        )
        origin = {"model": str(model.run), "truth": str(self.truth)}
        return [replace(report, warnings=folder.warnings) for report in made.values()], origin


def _summary(reports: list[Report], protocols: tuple[ProtocolName, ...], draws: int) -> dict[str, Any]:
    """One report as it is; those of a model under `gates`, but the oracle's apart, under `ceiling`."""
    if reports[0].gate is None:
        return reports[0].to_json(protocols, draws=draws)
    made = {str(report.gate): report.to_json(protocols, draws=draws) for report in reports}
    summary: dict[str, Any] = {"gates": {gate: values for gate, values in made.items() if gate != "oracle"}}
    if "oracle" in made:
        summary["ceiling"] = {"oracle": made["oracle"]}
    if reports[0].image_level is not None:
        summary["image_level"] = reports[0].image_level.to_json()
    return summary


def _written(
    out: PathLike | None,
    reports: list[Report],
    protocols: tuple[ProtocolName, ...],
    summary: dict[str, Any],
    tell: Tell,
) -> list[Path]:
    if out is None:
        return []
    from wsi_lpd.evaluation.outputs import write_outputs

    paths = write_outputs(Path(out), reports, protocols, summary)
    for path in paths:
        tell(f"wrote {path}")
    return paths
