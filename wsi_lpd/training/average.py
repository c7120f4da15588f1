"""The averaged weights: what teaches during training, and what is kept of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wsi_lpd.models.network import TissueNetwork


class AveragedNetwork:
    """A network whose weights and statistics are the exponential moving average of another's.

    A frozen encoder is shared by the two.

    Torch's `AveragedModel` does the same, but asks a tensor at every step whether it is the first one.
    """

    def __init__(self, network: TissueNetwork, *, decay: float) -> None:
        shared = {id(network.encoder): network.encoder} if network.frozen else {}
        self.network = copy.deepcopy(network, shared).eval().requires_grad_(False)
        self._mix = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._updates = 0

    @torch.no_grad()
    def update(self, network: TissueNetwork) -> None:
        """Moves towards `network`; the first time, all the way."""
        here, there = self.network.learnt_state(), network.learnt_state()
        floating = [name for name, value in here.items() if value.is_floating_point()]
        if self._updates > 0:
            self._mix([here[name] for name in floating], [there[name] for name in floating], None)
        for name, value in here.items():
            if self._updates == 0 or not value.is_floating_point():
                value.copy_(there[name])
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Weights, and how often they were updated."""
        return {"network": detached(self.network.learnt_state()), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict`."""
        self.network.load_state_dict(state["network"], strict=not self.network.frozen)
        self._updates = int(state["updates"])


def detached(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without a graph."""
    return {name: value.detach() for name, value in state.items()}
