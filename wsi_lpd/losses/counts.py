"""Counts and sums over the batches of all processes: what losses are divided by.

With several processes, each sees its share of a batch, and gradients are averaged over processes. A mean of means is
not the mean where the shares have different counts (labelled cells, positions of a class), so a loss divides its own
sum by `average_count`; the average over processes is then the mean over the whole batch. One process alone exchanges
nothing.

All functions are collective: every process must call them equally often, even one with nothing to count.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def average_count(count: Tensor) -> Tensor:
    """What a process divides its own sum by: the count over all processes, at least 1, per process.

    Args:
        count: This process's, of any shape and numeric type; no gradient flows to it.

    Returns:
        float32 of that shape: `max(1, sum over processes) / processes`.
    """
    return summed_count(count).clamp(min=1) / _n_processes()


def summed_count(count: Tensor) -> Tensor:
    """The count over all processes, float32; 0 where there is nothing to count."""
    total = count.detach().to(torch.float32, copy=True)
    if _n_processes() > 1:
        dist.all_reduce(total)
    return total


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, for a loss that is not a mean over cells; gradients flow back to every process.

    Every process then computes the same loss, and the average of their gradients is its gradient.
    """
    if _n_processes() == 1:
        return values
    total: Tensor = _Sum.apply(values)
    return total


class _Sum(torch.autograd.Function):
    """Every loss depends on the values of every process, so gradients are summed as the values were."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed_now(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed_now(gradient)


def _summed_now(values: Tensor) -> Tensor:
    total = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def _n_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
