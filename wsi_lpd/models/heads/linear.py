"""Linear classifiers of every position: plain class activation maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class LinearClassifier(nn.Module):
    """A 1 x 1 convolution per scale. It has no bias, so that a map is nothing but what the features say."""

    def __init__(self, *, n_classes: int, channels: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(width, n_classes, 1, bias=False) for width in channels)
        self._dropout = dropout

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits per class and position of every scale, from (B, D_s, h_s, w_s) to (B, C, h_s, w_s)."""
        seen = [F.dropout2d(f, self._dropout, self.training) for f in features]
        return [convolution(f) for convolution, f in zip(self.convolutions, seen, strict=True)]
