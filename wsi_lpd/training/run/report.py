"""The pictures that come with a run: what its prototypes have learnt, on patches it was not trained on."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.models.network import TissueNetwork
from wsi_lpd.models.saved.card import ModelCard, load_card
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.prototypes.report import find_prototypes, write_findings
from wsi_lpd.training.data.split import split_by_group

logger = logging.getLogger(__name__)

HELD_OUT = "held-out patches"
TRAINING = "training patches"
LABELLED = "labelled patches"


def report_run(
    run: Path,
    network: TissueNetwork,
    training: LabelTable,
    validation: LabelTable | None,
    *,
    device: torch.device,
    progress: Progress = SILENT,
) -> None:
    """Draws the prototypes of a finished run into its folder, if it has some.

    A failure is logged, as the model is worth more.

    Args:
        run: The run folder, with its model in it.
        network: The trained network.
        training: The patches it learnt from; looked at where none were held out.
        validation: The held-out patches.
        device: Where the network runs.
        progress: Told of every patch.
    """
    if not network.has_prototypes:
        return
    table, what = (training, TRAINING) if validation is None else (validation, HELD_OUT)
    try:
        card = load_card(run)
        write_findings(
            find_prototypes(network, card, table, run=run.resolve().name, what=what, device=device, progress=progress),
            run,
        )
    except Exception as err:  # whatever it was, the run is finished and must be told so
        logger.warning(
            "%s: the model is saved, but its prototypes could not be drawn (%s); `wsi-lpd prototypes` draws them",
            run,
            err,
        )
        logger.debug("the prototypes of %s", run, exc_info=True)


def patches_of_run(table: LabelTable, card: ModelCard) -> tuple[LabelTable, str]:
    """Of the labels that a model was trained with, the held-out part, as `report_run` would look at; else all of them.

    Args:
        table: Labelled patches.
        card: The model's card; its fingerprint of the training data decides.

    Returns:
        The patches to look at, and what they are in words.
    """
    if table.fingerprint == card.data_fingerprint:
        return table, TRAINING
    settings = card.config.train
    try:
        training, held_out = split_by_group(table, fraction=settings.val_fraction, seed=settings.seed)
    except TrainingError:  # too few to hold any out: not what the model was trained with
        return table, LABELLED
    if held_out is not None and training.fingerprint == card.data_fingerprint:
        return held_out, HELD_OUT
    return table, LABELLED
