"""`wsi-lpd pseudo-mask`: masks of the training patches, to train a decoder on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ._console import BarProgress, print_json, say, user_errors
from ._options import ConfigOption, DeviceOption, JsonOption, ModelOption, OverwriteOption, SetOption

LabelsOption = Annotated[
    list[Path],
    typer.Option(
        "--labels", metavar="PATH", help="The labels that the model was trained with, as for train; may be repeated."
    ),
]


def pseudo_mask(
    labels: LabelsOption,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the masks.")],
    model: ModelOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make pseudo-masks of a model's training patches.

    They say where in a patch its labelled tissues lie; train a decoder on them with `train --set method=decoder`.

    Re-running resumes; --overwrite starts over.
    """
    with user_errors():
        from wsi_lpd.config import load_config
        from wsi_lpd.labels.sources import read_labels
        from wsi_lpd.models.saved.card import load_card
        from wsi_lpd.models.saved.runs import find_run
        from wsi_lpd.pseudo_masks.job import make_masks

        resolved = load_config(config, settings if settings is not None else ()).masks
        run = find_run(model)
        table = read_labels(labels, classes=load_card(run).label_columns)
        summary = make_masks(table, run, out, resolved, device=device, overwrite=overwrite, progress=BarProgress())
    for line in summary.describe():
        say(line)
    if summary.was_finished:
        say(f"{out}: already finished; --overwrite starts over")
    if as_json:
        print_json({**asdict(summary), "path": str(summary.path)})
