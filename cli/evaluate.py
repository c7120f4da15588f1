"""`wsi-lpd evaluate`: how well an overlay, a mask or a model agrees with the truth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ._console import BarProgress, print_json, say, user_errors
from ._options import ConfigOption, JsonOption, SetOption, class_names
from ._scores import reports_text

if TYPE_CHECKING:
    from wsi_lpd.config import Config
    from wsi_lpd.evaluation.protocols import GateName, ProtocolName
    from wsi_lpd.evaluation.report import Report


class ProtocolChoice(StrEnum):
    """What `--protocol` takes."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    BOTH = "both"
    ALL = "all"


_PROTOCOLS: Final[dict[ProtocolChoice, tuple[ProtocolName, ...]]] = {
    ProtocolChoice.A: ("A",),
    ProtocolChoice.B: ("B",),
    ProtocolChoice.C: ("C",),
    ProtocolChoice.D: ("D",),
    ProtocolChoice.BOTH: ("A", "B"),
    ProtocolChoice.ALL: ("A", "B", "C", "D"),
}


class GateChoice(StrEnum):
    """What `--gate` takes."""

    AUTO = "auto"
    NONE = "none"
    PREDICTED = "predicted"
    ORACLE = "oracle"
    ALL = "all"


_GATES: Final[dict[GateChoice, tuple[GateName, ...]]] = {
    GateChoice.NONE: ("none",),
    GateChoice.PREDICTED: ("predicted",),
    GateChoice.ORACLE: ("oracle",),
    GateChoice.ALL: ("none", "predicted", "oracle"),
}


class RefinementChoice(StrEnum):
    """What `--refine` takes: the names of `wsi_lpd.prediction.refine.RefinementName`."""

    NONE = "none"
    PAMR = "pamr"
    GUIDED = "guided"


class CodingChoice(StrEnum):
    """What `--coding` takes: the keys of `wsi_lpd.evaluation.read.CODINGS`."""

    INDEX = "index"
    BCSS_WSSS = "bcss-wsss"
    LUAD_HISTOSEG = "luad-histoseg"
    WSSS4LUAD = "wsss4luad"


def evaluate(
    truth: Annotated[
        Path, typer.Option("--truth", "-t", help="The truth: the same kinds; for --model a folder with img/ and mask/.")
    ],
    prediction: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PREDICTION]",
            help="Overlay (.geojson, .geojson.gz), mask (.tif, .png) or mask folder; left out with --model.",
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Run folder: predict the images of --truth without any label, and score that.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="With --model: folder of the images, if it is not img/ beside the masks.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B,C", help="Classes to score, in the order of the values of plain masks."),
    ] = None,
    protocol: Annotated[
        ProtocolChoice,
        typer.Option(
            "--protocol",
            help="A: true background is left out. B, D: it counts, classes there are wrong. C: and nothing may be "
            "predicted as background. both: A and B.",
        ),
    ] = ProtocolChoice.BOTH,
    gate: Annotated[
        GateChoice,
        typer.Option(
            help="With --model: how classes are weighed. auto is predicted, and none for a decoder; oracle is a "
            "ceiling read off the truth, no result."
        ),
    ] = GateChoice.AUTO,
    refine: Annotated[
        RefinementChoice | None, typer.Option(help="With --model: move outlines to the edges of the picture.")
    ] = None,
    coding: Annotated[
        CodingChoice,
        typer.Option("--coding", help="Values of plain masks. index: 0 background, classes from 1."),
    ] = CodingChoice.INDEX,
    prediction_coding: Annotated[
        CodingChoice | None,
        typer.Option("--prediction-coding", help="The same for the predicted masks, if they differ."),
    ] = None,
    truth_downsample: Annotated[
        float | None,
        typer.Option("--truth-downsample", min=1.0, help="Level-0 pixels per pixel of a plain truth mask."),
    ] = None,
    slide_mpp: Annotated[
        float | None,
        typer.Option("--slide-mpp", "--mpp", min=0.01, help="With --model: micrometres per pixel of the images."),
    ] = None,
    group_by: Annotated[
        str,
        typer.Option(
            help="What images are drawn together for the intervals: source (patient or slide, by the name), image, or "
            "a regular expression with one bracket."
        ),
    ] = "source",
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap draws for the 95 % intervals; 0 = no intervals.")] = (
        10_000
    ),
    boundary_px: Annotated[
        int | None, typer.Option(min=1, help="Depth of the boundary band; without it 2 % of the diagonal.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for metrics.json, per_image.csv, confusion.csv and .png.")
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: Annotated[str, typer.Option(help="With --model: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score PREDICTION, or what --model predicts, against the truth: IoU, Dice, boundaries, confusion matrix."""
    names = class_names(classes)
    if (prediction is None) == (model is None):
        raise typer.BadParameter("expected either a PREDICTION or --model RUN, and not both")
    if prediction is not None and (images is not None or refine is not None or slide_mpp is not None):
        raise typer.BadParameter("--images, --refine and --slide-mpp go with --model")
    if prediction is not None and gate is not GateChoice.AUTO:
        raise typer.BadParameter("--gate goes with --model: a prediction that is a file has been gated already")
    protocols: tuple[ProtocolName, ...] = _PROTOCOLS[protocol]
    shared: dict[str, Any] = {
        "classes": names,
        "coding": coding.value,
        "group_by": group_by,
        "boundary_px": boundary_px,
    }
    with user_errors():
        if prediction is None:
            from wsi_lpd.config import load_config, updated

            resolved = load_config(config, settings if settings is not None else ())
            changes = {"segment.refine": None if refine is None else refine.value}
            reports, summary = _of_model(
                model, updated(resolved, changes), truth, gate, images, slide_mpp, device, shared
            )
        else:
            from wsi_lpd.evaluation.evaluation import evaluate_files

            other = None if prediction_coding is None else prediction_coding.value
            report = evaluate_files(
                prediction, truth, prediction_coding=other, truth_downsample=truth_downsample, **shared
            )
            reports, summary = [report], {"prediction": str(prediction), "truth": str(truth)}
        summary |= _summary(reports, protocols, draws)
        if out is not None:
            from wsi_lpd.evaluation.outputs import write_outputs

            for path in write_outputs(out, reports, protocols, summary):
                say(f"wrote {path}")
    if as_json:
        print_json(summary)
    else:
        typer.echo(reports_text(reports, protocols, draws))


def _of_model(
    model: Path | None,
    config: Config,
    truth: Path,
    gate: GateChoice,
    images: Path | None,
    slide_mpp: float | None,
    device: str,
    shared: dict[str, Any],
) -> tuple[list[Report], dict[str, Any]]:
    """The reports of a run on a folder of images, and what says where they came from."""
    from dataclasses import replace

    from wsi_lpd.evaluation.model import evaluate_model
    from wsi_lpd.evaluation.true_images import open_true_folder
    from wsi_lpd.models.device import choose_device
    from wsi_lpd.models.saved.runs import find_run
    from wsi_lpd.prediction.predictor import Predictor

    run = find_run(model)
    predictor = Predictor.load(run, choose_device(device))
    folder = open_true_folder(
        truth,
        classes=[c.name for c in predictor.card.classes],
        model_mpp=predictor.card.mpp,
        images=images,
        coding=shared["coding"],
        named=shared["classes"],
        image_mpp=slide_mpp,
        group_by=shared["group_by"],
    )
    for warning in folder.warnings:
        say(f"warning: {warning}")
    reports = evaluate_model(
        predictor,
        folder,
        gates=_GATES.get(gate, ("predicted" if predictor.gates("auto") else "none",)),
        refinement=config.segment.refine,
        progress=BarProgress(),
        config=config.segment,
        boundary_px=shared["boundary_px"],
    )
    return [replace(r, warnings=folder.warnings) for r in reports.values()], {"model": str(run), "truth": str(truth)}


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
