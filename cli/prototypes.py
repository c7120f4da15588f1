"""`wsi-lpd prototypes`: what each prototype has learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from ._console import BarProgress, print_json, say, user_errors
from ._options import DeviceOption, JsonOption, ModelOption, optional

_LABELS: Final = Path("patches.csv")


LabelsOption = Annotated[
    list[Path] | None,
    optional(
        "--labels",
        metavar="PATH",
        help="Labelled patches to show, as for train; may be repeated. Of the labels the model was trained with, only "
        "the held-out patches are shown.",
        default="patches.csv",
    ),
]
OutOption = Annotated[
    Path | None,
    optional("--out", "-o", metavar="FOLDER", help="Folder to write to.", default="the run folder"),
]


def prototypes(
    model: ModelOption = None,
    labels: LabelsOption = None,
    out: OutOption = None,
    patches: Annotated[int, typer.Option("--patches", min=1, metavar="N", help="Search at most N patches.")] = 1000,
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="Show N patches per prototype.")] = 6,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Show what each prototype has learnt.

    Writes prototypes.png, prototypes.html and, with the numbers, prototypes.json.
    """
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
            raise LabelError(f"{_LABELS}: no such file; name the labelled patches with --labels FILE")
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
