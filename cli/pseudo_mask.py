"""`wsi-lpd pseudo-mask`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ._console import BarProgress, print_json, say, user_errors
from ._options import ConfigOption, JsonOption, OverwriteOption, SetOption


def pseudo_mask(
    labels: Annotated[
        list[Path],
        typer.Option("--labels", help="The labels that the model was trained with, as for train; may be repeated."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of masks to write.")],
    model: Annotated[
        Path | None, typer.Option(help="Run folder; without it $WSI_LPD_MODEL, then the newest run in runs/.")
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a model say where the labelled tissues of its training patches lie, for `train --set method=decoder`."""
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
        say(f"{out}: was there already; --overwrite makes it anew")
    if as_json:
        print_json({**asdict(summary), "path": str(summary.path)})
