"""From a network and labelled patches to the three files: sheet, page and numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import torch

from wsi_lpd.classes import TissueClass
from wsi_lpd.errors import ModelError
from wsi_lpd.files import write_text
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.models.network import LpdNetwork, TissueNetwork
from wsi_lpd.models.saved.card import ModelCard
from wsi_lpd.overlay.raster.draw import write_picture
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.prototypes.collect import choose_rows, collect, prototype_cosines
from wsi_lpd.prototypes.findings import ClassFindings, Findings
from wsi_lpd.prototypes.page import page
from wsi_lpd.prototypes.sheet import draw_sheet

SHEET_FILE: Final = "prototypes.png"
PAGE_FILE: Final = "prototypes.html"
NUMBERS_FILE: Final = "prototypes.json"
N_PATCHES: Final = 1000
N_EXAMPLES: Final = 6


def find_prototypes(
    network: TissueNetwork,
    card: ModelCard,
    table: LabelTable,
    *,
    run: str,
    what: str,
    device: torch.device,
    n_patches: int = N_PATCHES,
    n_examples: int = N_EXAMPLES,
    progress: Progress = SILENT,
) -> Findings:
    """Runs the network on patches and collects what each prototype responds to.

    Args:
        network: The trained network.
        card: Its card.
        table: Labelled patches, with the classes of the card in its order.
        run: Name of the run.
        what: Kind of the patches, such as `held-out patches`.
        device: Where the network runs.
        n_patches: Upper limit of the sample.
        n_examples: Upper limit of the patches kept per prototype.
        progress: Advances by patches.

    Raises:
        ModelError: If the model has no prototypes.
    """
    if not isinstance(network, LpdNetwork) or not network.has_prototypes:
        raise ModelError(
            f"{run}: is a model of method {card.method}, which has no prototypes; expected one that has, such as lpd"
        )
    rows = choose_rows(table, n_patches)
    figures = collect(
        network, table, rows, config=card.config.loss, n_examples=n_examples, device=device, progress=progress
    )
    cosines = prototype_cosines(network)
    return Findings(
        run=run,
        model_sha256=str(card.weights_sha256),
        what=what,
        table=table,
        n_patches=len(rows),
        n_masks=0 if table.truth_masks is None else sum(table.truth_masks[row] is not None for row in rows),
        mpp=card.mpp if table.mpp is None else table.mpp,
        patch_px=card.patch_px if table.patch_px is None else table.patch_px,
        scales=card.encoder.scales,
        classes=tuple(
            ClassFindings(
                tissue=TissueClass(c.name, c.color),
                n_labelled=int((table.labels[rows, i] == 1).sum()),
                figures=figures[i],
                cosines=cosines[:, i],
            )
            for i, c in enumerate(card.classes)
        ),
    )


def write_findings(findings: Findings, folder: Path) -> list[Path]:
    """Writes `prototypes.png`, `prototypes.html` and `prototypes.json` into a folder, replacing older ones.

    Raises:
        StoreError: If a patch can no longer be read.
        LabelError: The same, for image files.
    """
    paths = [folder / name for name in (SHEET_FILE, PAGE_FILE, NUMBERS_FILE)]
    write_picture(paths[0], draw_sheet(findings))
    write_text(paths[1], page(findings))
    write_text(paths[2], json.dumps(findings.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return paths
