"""The vectorised diversity loss against a plain double loop over prototypes: the same values, and how much faster.

    python -m benchmarks.training.losses [--device cpu] [--repeats 15]

The loop goes over images, classes and pairs of prototypes, as ProtoSeg and the published LPD code do. Both compute in
float32, forward and backward. They take turns; the ratio is the median over the turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import machine, median_ratio, parser_of, seconds_of
from wsi_lpd.losses.diversity import MIN_POSITIONS, diversity_loss

BATCH, CLASSES, PROTOTYPES, SIDE = 10, 4, 10, 28
TEMPERATURE = 0.1
PRESENT = 0.6
"""Share of positions that a class has in the random masks."""

Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    """Prints one JSON object."""
    parser = parser_of(__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each")
    options = parser.parse_args()
    print(json.dumps(compared(torch.device(options.device), options.repeats), indent=1))


def compared(device: torch.device, repeats: int) -> dict[str, object]:
    """Values, gradients and times of both."""
    similarity, mask = (tensor.to(device) for tensor in random_input(seed=0))
    fast, slow = value_and_gradient(vectorised, similarity, mask), value_and_gradient(looped, similarity, mask)
    report: dict[str, object] = {
        "shape": {"B": BATCH, "C": CLASSES, "K": PROTOTYPES, "h": SIDE, "w": SIDE},
        "value": float(fast[0]),
        "value_difference": float((fast[0] - slow[0]).abs()),
        "gradient_difference": float((fast[1] - slow[1]).abs().max() / slow[1].abs().max()),
    }
    for name, backward in (("forward", False), ("forward_and_backward", True)):
        pairs = [
            (_seconds(vectorised, similarity, mask, backward), _seconds(looped, similarity, mask, backward))
            for _ in range(repeats + 1)
        ][1:]  # the first warms up
        fast_s, slow_s = (list(column) for column in zip(*pairs, strict=True))
        report[name] = {
            "vectorised_ms": round(1000 * median(fast_s), 3),
            "loop_ms": round(1000 * median(slow_s), 3),
            "times_faster": round(median_ratio(slow_s, fast_s), 1),
        }
    return {**report, "repeats": repeats, "threads": torch.get_num_threads(), "machine": machine()}


def random_input(*, seed: int) -> tuple[Tensor, Tensor]:
    """Cosines (B, C, K, h, w), alike within a class, and masks (B, C, h, w), one of which is empty."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.rand((BATCH, CLASSES, 1, SIDE, SIDE), generator=generator) - 0.5
    own = torch.rand((BATCH, CLASSES, PROTOTYPES, SIDE, SIDE), generator=generator) - 0.5
    similarity = shared + 0.3 * own
    mask = torch.rand((BATCH, CLASSES, SIDE, SIDE), generator=generator) < PRESENT
    mask[1, 2] = False
    return similarity, mask


def looped(similarity: Tensor, class_mask: Tensor) -> Tensor:
    """The same loss, one pair of prototypes at a time."""
    n_images, n_classes, n_prototypes = similarity.shape[:3]
    cells = []
    for b in range(n_images):
        for c in range(n_classes):
            inside = class_mask[b, c]
            if int(inside.sum()) < MIN_POSITIONS:
                continue
            logs = [F.log_softmax(similarity[b, c, k][inside] / TEMPERATURE, dim=0) for k in range(n_prototypes)]
            overlaps = []
            for i in range(n_prototypes):
                for j in range(i + 1, n_prototypes):
                    there = F.kl_div(logs[j], logs[i], reduction="sum", log_target=True)
                    back = F.kl_div(logs[i], logs[j], reduction="sum", log_target=True)
                    overlaps.append(torch.exp(-(there + back) / 2))
            cells.append(torch.stack(overlaps).mean())
    return torch.stack(cells).mean()


def vectorised(similarity: Tensor, class_mask: Tensor) -> Tensor:
    """The loss as the library computes it."""
    return diversity_loss(similarity, class_mask, temperature=TEMPERATURE)


def value_and_gradient(loss: Loss, similarity: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Value, and gradient with respect to `similarity`."""
    leaf = similarity.clone().requires_grad_()
    value = loss(leaf, mask)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


def _seconds(loss: Loss, similarity: Tensor, mask: Tensor, backward: bool) -> float:
    leaf = similarity.clone().requires_grad_(backward)

    def compute() -> None:
        value = loss(leaf, mask)
        if backward:
            value.backward()  # type: ignore[no-untyped-call]

    return seconds_of(compute, leaf.device)


if __name__ == "__main__":
    main()
