"""Streams patches through a network and counts what its prototypes respond to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.config import LossConfig
from wsi_lpd.labels.sources import LabelTable, read_patches, read_truth_masks
from wsi_lpd.models.activation import pseudo_mask
from wsi_lpd.models.device import to_images
from wsi_lpd.models.network import LpdNetwork, NetworkOutput
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.prototypes.tally import ClassFigures, ClassTally
from wsi_lpd.types import Float64Array

_BATCH_SIZE: Final = 32
_SEED: Final = 0


def choose_rows(table: LabelTable, n_patches: int) -> list[int]:
    """Rows to study: drawn at random, but in turn for each class, so that a rare class gets its share.

    Patches that can hold no pixel of a class (no positive label and no mask) are left out. The same table always
    gives the same rows.

    Args:
        table: Labelled patches.
        n_patches: Upper limit of their number.

    Returns:
        Rows in increasing order.
    """
    order = np.random.default_rng(_SEED).permutation(len(table))
    turn = np.full(len(table), len(table))
    masks = table.truth_masks or (None,) * len(table)
    has_mask = np.array([mask is not None for mask in masks], bool)
    for usable in (*(table.labels == 1).T, has_mask):
        queue = order[usable[order]]
        turn[queue] = np.minimum(turn[queue], np.arange(len(queue)))
    in_turn = order[np.argsort(turn[order], kind="stable")]
    chosen = in_turn[turn[in_turn] < len(table)][:n_patches]
    return sorted(chosen.tolist())


@torch.inference_mode()
def collect(
    network: LpdNetwork,
    table: LabelTable,
    rows: Sequence[int],
    *,
    config: LossConfig,
    n_examples: int,
    device: torch.device,
    progress: Progress = SILENT,
) -> list[ClassFigures]:
    """Runs the network on every patch once, with one batch in memory at a time.

    Args:
        network: A trained network; it is moved to the device and put into eval mode.
        table: Labelled patches, with the classes of the network in its order.
        rows: Those to use.
        config: How certain a pixel must be to belong to a class (`pseudo_confidence`, `pseudo_margin`).
        n_examples: Patches to keep per prototype.
        device: Where the network runs.
        progress: Advances by patches.

    Returns:
        One entry per class.
    """
    network.to(device).eval()
    n_classes, n_prototypes = network.prototypes.projected(0).shape[:2]
    tallies = [ClassTally(n_prototypes, n_examples=n_examples) for _ in range(n_classes)]
    with progress.stage("prototypes", len(rows), "patches") as advance:
        for start in range(0, len(rows), _BATCH_SIZE):
            batch = list(rows[start : start + _BATCH_SIZE])
            output = network(to_images(read_patches(table, batch), device))
            similarity = network.fused_similarity(output).float().cpu().numpy()
            members = class_pixels(output, table, batch, config).cpu().numpy()
            for i, row in enumerate(batch):
                for c, tally in enumerate(tallies):
                    tally.add(row, similarity[i, c], members[i, c])
            advance(len(batch))
    return [tally.figures() for tally in tallies]


def class_pixels(output: NetworkOutput, table: LabelTable, rows: Sequence[int], config: LossConfig) -> Tensor:
    """Which positions belong to which class: by the majority of the patch's mask, else by the pseudo mask.

    Args:
        output: The network's, for these patches.
        table: Labelled patches.
        rows: B rows of the table.
        config: Confidence and margin of the pseudo mask.

    Returns:
        bool, (B, C, h, w) at the size of the fused maps.
    """
    maps = output.fused_maps
    labels = torch.from_numpy(table.labels[list(rows)]).to(maps.device)
    members = pseudo_mask(
        maps, output.background, labels, confidence=config.pseudo_confidence, margin=config.pseudo_margin
    )
    masked = [i for i, row in enumerate(rows) if table.truth_masks is not None and table.truth_masks[row] is not None]
    if masked:
        truth = torch.from_numpy(read_truth_masks(table, [rows[i] for i in masked]))
        of_class = truth[:, None] == torch.arange(1, maps.shape[1] + 1)[None, :, None, None]
        share = F.adaptive_avg_pool2d(of_class.float(), (maps.shape[-2], maps.shape[-1]))
        members[masked] = (share > 0.5).to(members.device)
    return members


@torch.inference_mode()
def prototype_cosines(network: LpdNetwork) -> Float64Array:
    """Cosine of every pair of a class's projected prototypes at every scale, (S, C, K, K)."""
    cosines = []
    for scale in range(len(network.fusion)):
        vectors = F.normalize(network.prototypes.projected(scale).cpu().double(), dim=-1)
        cosines.append(vectors @ vectors.transpose(1, 2))
    return torch.stack(cosines).numpy()
