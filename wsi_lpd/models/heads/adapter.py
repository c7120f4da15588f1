"""Small trainable blocks between an encoder and the prototypes: what a frozen encoder learns for the task at hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

_WIDEST = 128
"""Channels inside a block, at most: with them a block costs a small part of one layer of a large transformer."""


class Adapter(nn.Module):
    """One block per scale, each of which begins as no change at all.

    The residual blocks follow ConStruct (arXiv 2512.10316): 1x1, depthwise 3x3, 1x1 that starts at zero; here with one
    layer norm over channels at the front, which unlike a batch norm is the same for every image size and batch.

    Args:
        channels: Of each map.
        refines: Whether the first map comes out at twice its height and width: of a plain transformer, all of whose
            maps have one stride, the finest scale.
    """

    def __init__(self, channels: Sequence[int], *, refines: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Finer(width) if refines and i == 0 else _Residual(width) for i, width in enumerate(channels)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, D_s, h_s, w_s) to maps of the same shapes; the first may be (B, D_s, 2 h_s, 2 w_s)."""
        return [block(each) for block, each in zip(self.blocks, maps, strict=True)]


class _Residual(nn.Module):
    """`x + f(x)`, f a bottleneck around a depthwise 3x3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = min(width, _WIDEST)
        self.change = _bottleneck(width, nn.Conv2d(inner, inner, 3, padding=1, groups=inner))

    def forward(self, maps: Tensor) -> Tensor:
        changed: Tensor = maps + self.change(maps)
        return changed


class _Finer(nn.Module):
    """Twice as fine: bilinear, plus what a transposed convolution finds out about the quarters of a position."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = min(width, _WIDEST)
        self.change = _bottleneck(width, nn.ConvTranspose2d(inner, inner // 2, 2, stride=2))

    def forward(self, maps: Tensor) -> Tensor:
        enlarged = F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
        changed: Tensor = enlarged + self.change(maps)
        return changed


def _bottleneck(width: int, spatial: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """Norm, 1x1 down, GELU, the spatial layer, GELU, 1x1 up from zero."""
    return nn.Sequential(
        LayerNorm2d(width),
        nn.Conv2d(width, spatial.in_channels, 1),
        nn.GELU(),
        spatial,
        nn.GELU(),
        _from_zero(spatial.out_channels, width),
    )


def _from_zero(inner: int, width: int) -> nn.Conv2d:
    layer = nn.Conv2d(inner, width, 1)
    with torch.no_grad():
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
