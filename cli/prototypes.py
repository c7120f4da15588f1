"""`wsi-lpd prototypes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from ._console import BarProgress, print_json, say, user_errors
from ._options import JsonOption

_LABELS: Final = Path("patches.csv")


def prototypes(
    model: Annotated[
        Path | None, typer.Option(help="Run folder; without it $WSI_LPD_MODEL, then the newest run in runs/.")
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            "--labels",
            help="Labelled patches to look at, as for train; without it patches.csv here. Of the labels the model was "
            "trained with, the held-out patches are looked at. May be repeated.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write to; without it the run's.")] = None,
    patches: Annotated[int, typer.Option(min=1, help="Look at no more patches than this.")] = 1000,
    top: Annotated[int, typer.Option(min=1, help="Patches to show per prototype.")] = 6,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Draw what each prototype has learnt: prototypes.png, prototypes.html and the numbers in prototypes.json."""
    with user_errors():
        from wsi_lpd.errors import LabelError
        from wsi_lpd.labels.sources import read_labels
        from wsi_lpd.models.device import choose_device
        from wsi_lpd.models.saved.load import load_network
        from wsi_lpd.models.saved.runs import find_run
        from wsi_lpd.prototypes.report import find_prototypes, write_findings
        from wsi_lpd.training.run.report import patches_of_run

        run = find_run(model)
        network, card = load_network(run)
        if labels is None and not _LABELS.is_file():
            raise LabelError(f"{_LABELS}: is not here; name the labelled patches to look at with --labels FILE")
        given = read_labels([_LABELS] if labels is None else labels, classes=card.label_columns)
        table, what = patches_of_run(given, card)
        findings = find_prototypes(
            network,
            card,
            table,
            run=run.resolve().name,
            what=what,
            device=choose_device(device),
            n_patches=patches,
            n_examples=top,
            progress=BarProgress(),
        )
        paths = write_findings(findings, run if out is None else out)
    for found in findings.classes:
        say(found.describe())
    say(f"{', '.join(str(path) for path in paths)}: from {findings.n_patches:,} {what}")
    if as_json:
        print_json({"files": [str(path) for path in paths], **findings.to_json()})
