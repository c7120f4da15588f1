"""Scores on held-out patches: from their labels, and from their masks where they have some. No label gates anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.models.network import LpdNetwork
from wsi_lpd.patches.labels import LabelTable
from wsi_lpd.train.data import ordered_batches


@dataclass(frozen=True)
class Validation:
    """Image logits and labels of the held-out patches, and what they amount to."""

    logits: Tensor
    """(N, C) float32 on the CPU."""
    labels: Tensor
    """(N, C): 1, 0 or -1."""
    metrics: dict[str, float]


@torch.no_grad()
def validate(
    network: LpdNetwork, table: LabelTable, *, batch_size: int, workers: int, device: torch.device
) -> Validation:
    """Runs the network over a table of patches and scores its image logits."""
    network.eval()
    logits, labels = [], []
    for patches, batch_labels in ordered_batches(table, batch_size=batch_size, workers=workers):
        images = to_images(patches, device)
        logits.append(network(images).fused_logits.float().cpu())
        labels.append(batch_labels)
    y, target = torch.cat(logits), torch.cat(labels)
    return Validation(y, target, label_metrics(y, target))


def to_images(patches: Tensor, device: torch.device) -> Tensor:
    """Patches uint8 (B, S, S, 3) as RGB in [0, 1], (B, 3, S, S), on the device; they travel there as bytes."""
    return patches.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255


def label_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Loss, mean AUROC and F1 over the classes that have both kinds of label, and the share of patches all right.

    Args:
        logits: (N, C).
        labels: 1, 0 or -1 (left out), (N, C).
    """
    known = labels >= 0
    cell = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).float(), reduction="none")
    right = ((logits > 0) == (labels == 1)) | ~known
    metrics = {
        "loss": float((cell * known).sum() / known.sum().clamp(min=1)),
        "exact_match": float(right.all(dim=1).float().mean()),
    }
    areas, scores = [], []
    for c in range(labels.shape[1]):
        y, t = logits[known[:, c], c], labels[known[:, c], c]
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
