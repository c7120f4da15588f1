"""Knowledge attention: positions attend to each other and to what is written about the classes."""

from __future__ import annotations

import math

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

_BLOCKS = 2
_MOST_HEADS = 8
_DROP_PATH = 0.1


class KnowledgeAttention(nn.Module):
    """Two transformer blocks over the positions of a map and one token per class; the positions come back.

    As in TPRO (MICCAI 2023): the tokens are fixed text features, brought to the width of the map by a learnt adapter.
    Nothing tells a token where it lies, so the order of positions and of knowledge does not matter.
    """

    def __init__(self, *, n_classes: int, dim: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(n_classes, dim), requires_grad=False)
        hidden = max(1, dim // 2)
        self.adapter = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, width))
        heads = math.gcd(width, _MOST_HEADS)
        self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True, drop_path=_DROP_PATH) for _ in range(_BLOCKS))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, h, w) to the same shape."""
        tokens = features.flatten(2).transpose(1, 2)
        knowledge = self.adapter(self.vectors).expand(len(tokens), -1, -1)
        together = torch.cat([tokens, knowledge.to(tokens.dtype)], dim=1)
        for block in self.blocks:
            together = block(together)
        return together[:, : tokens.shape[1]].transpose(1, 2).reshape(features.shape)
