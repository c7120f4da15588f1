"""Scores on held-out patches: from their labels, and from their masks where they have some. No label gates anything."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.evaluation.metrics import confusion
from wsi_lpd.evaluation.protocols import score
from wsi_lpd.labels.sources import LabelTable, read_truth_masks
from wsi_lpd.methods.glass import glass_share
from wsi_lpd.models.activation import label_probabilities, labels_of
from wsi_lpd.models.device import to_images
from wsi_lpd.models.network import NetworkOutput, TissueNetwork
from wsi_lpd.training.data.batches import ordered_batches
from wsi_lpd.training.data.features import FeatureCache
from wsi_lpd.types import UInt8Array


@dataclass(frozen=True)
class Validation:
    """Image logits and labels of the held-out patches, and what they amount to."""

    logits: Tensor
    """(N, C) float32 on the CPU."""
    labels: Tensor
    """(N, C): 1, 0 or -1."""
    metrics: dict[str, float]
    tissue_margins: Tensor
    """By how much the classes together are above the background, at positions without glass of patches that hold a
    class; (n,) float32 on the CPU, at most about `_MOST_MARGINS` of them."""
    glass_margins: Tensor
    """The same at positions of glass."""


_MOST_MARGINS = 2_000_000
_GLASS = 0.99


@torch.no_grad()
def validate(
    network: TissueNetwork,
    table: LabelTable,
    *,
    batch_size: int,
    workers: int,
    device: torch.device,
    oracle_gate: bool = False,
    features: FeatureCache | None = None,
) -> Validation:
    """Runs the network over a table of patches and scores its image logits, and its maps where there are masks.

    Args:
        network: The network.
        table: Labelled patches.
        batch_size: Patches per forward pass.
        workers: Processes that read patches.
        device: Where the network is.
        oracle_gate: Whether maps are gated by the truth, a defect of the published recipe.
        features: What a frozen encoder says of these patches, where it is cached.
    """
    network.eval()
    rows = None if features is None else iter(features.rows(table))
    logits, labels = [], []
    pixels = _PixelCounts(network, table, oracle_gate=oracle_gate)
    margins = _Margins(len(table))
    for patches, batch_labels, *_ in ordered_batches(table, batch_size=batch_size, workers=workers):
        images = to_images(patches, device)
        maps = None
        if features is not None and rows is not None:
            maps = features.read(list(islice(rows, len(images))), [0] * len(images), device=device)
        output = network(images, maps=maps)
        margins.add(output, images, batch_labels)
        logits.append(output.fused_logits.float().cpu())
        labels.append(batch_labels)
        pixels.add(output)
    y, target = torch.cat(logits), torch.cat(labels)
    tissue, glass = margins.found()
    return Validation(y, target, label_metrics(y, target) | pixels.metrics(), tissue, glass)


class _Margins:
    """Margins of classes over background, every n-th position where there are very many."""

    def __init__(self, n_patches: int) -> None:
        self._n_patches = n_patches
        self._tissue: list[Tensor] = []
        self._glass: list[Tensor] = []

    def add(self, output: NetworkOutput, images: Tensor, labels: Tensor) -> None:
        maps = output.fused_maps.float()
        margin = (torch.logsumexp(maps, dim=1, keepdim=True) - output.background.float())[:, 0]
        glass = glass_share(images, (maps.shape[-2], maps.shape[-1]))
        is_tissue = (glass == 0) & (labels == 1).any(dim=1).to(glass.device)[:, None, None]
        step = max(1, self._n_patches * margin[0].numel() // _MOST_MARGINS)
        self._tissue.append(margin[is_tissue][::step].cpu())
        self._glass.append(margin[glass > _GLASS][::step].cpu())

    def found(self) -> tuple[Tensor, Tensor]:
        return torch.cat(self._tissue), torch.cat(self._glass)


class _PixelCounts:
    """Counts pixels of the patches that have masks, in the order of the table.

    With the oracle's gate (a defect of the published recipe, here to be shown) the score goes by a name of its own.
    """

    def __init__(self, network: TissueNetwork, table: LabelTable, *, oracle_gate: bool) -> None:
        self._network = network
        self._table = table
        self._oracle_gate = oracle_gate
        self._row = 0
        self._counts = np.zeros((len(table.classes) + 1,) * 2, np.int64)

    def add(self, output: NetworkOutput) -> None:
        """Counts the next patches of the table; what the network itself says occurs is the gate, if it wants one."""
        rows = range(self._row, self._row + len(output.fused_logits))
        self._row = rows.stop
        masks = self._table.truth_masks
        chosen = [row for row in rows if masks is not None and masks[row] is not None]
        if not chosen:
            return
        truth = read_truth_masks(self._table, chosen)
        among = [row - rows.start for row in chosen]
        presence = output.fused_logits.float().sigmoid()
        if self._oracle_gate:
            presence[among] = _classes_present(truth, presence.shape[1]).to(presence)
        logits = self._network.map_logits(output, presence)[among]
        logits = F.interpolate(logits, size=(truth.shape[1], truth.shape[2]), mode="bilinear", align_corners=False)
        gate = presence[among][:, :, None, None] if self._network.wants_gate or self._oracle_gate else None
        labels = labels_of(label_probabilities(logits, gate))
        self._counts += confusion(truth, labels.cpu().numpy().astype(np.uint8), len(self._table.classes))

    def metrics(self) -> dict[str, float]:
        """MIoU over the judged pixels; nothing where no patch has a mask."""
        if not self._counts.any():
            return {}
        name = "miou_oracle_gate" if self._oracle_gate else "miou"
        return {name: score(self._counts, self._table.classes, "A").miou}


def _classes_present(truth: UInt8Array, n_classes: int) -> Tensor:
    """Whether a class has a pixel in each mask, (B, C) bool."""
    values = np.arange(1, n_classes + 1)
    return torch.from_numpy((truth[:, None] == values[None, :, None, None]).any(axis=(2, 3)))


def label_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Loss, mean AUROC and F1 over the classes that have both kinds of label, and the share of patches all right.

    Args:
        logits: (N, C).
        labels: 1, 0 or -1 (left out), (N, C).
    """
    labelled = labels >= 0
    cell = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).float(), reduction="none")
    right = ((logits > 0) == (labels == 1)) | ~labelled
    metrics = {
        "loss": float((cell * labelled).sum() / labelled.sum().clamp(min=1)),
        "exact_match": float(right.all(dim=1).float().mean()),
    }
    areas, scores = [], []
    for c in range(labels.shape[1]):
        y, t = logits[labelled[:, c], c], labels[labelled[:, c], c]
        if 0 < int(t.sum()) < len(t):
            areas.append(_auroc(y, t))
            hits = float(((y > 0) & (t == 1)).sum())
            scores.append(2 * hits / float((y > 0).sum() + t.sum()))
    if areas:
        metrics["auroc"] = sum(areas) / len(areas)
        metrics["f1"] = sum(scores) / len(scores)
    return metrics


def _auroc(logits: Tensor, labels: Tensor) -> float:
    from torchmetrics.functional.classification import binary_auroc

    return float(binary_auroc(logits, labels.long()))
