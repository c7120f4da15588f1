"""Mask2Former's decoder (Cheng et al., CVPR 2022) as `transformers` has it, on our encoders: an optional extra.

Every query predicts a mask and what it shows; their products, summed over the queries, are one map per label-map value.
These maps learn from pseudo masks as any other decoder's do: matching queries to objects has no meaning where a mask is
one map of tissue with parts left out.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import torch
from torch import Tensor, nn

from wsi_lpd.errors import ModelError
from wsi_lpd.models.encoders.build import Encoder

_N_LEVELS: Final = 3
"""Feature maps that its transformer looks at."""
_GROUPS: Final = 32
_QUERIES: Final = 32
_LAYERS: Final = 3
_HEADS: Final = 8
_LEAST_SHARE: Final = 1e-6


class Mask2FormerHead(nn.Module):
    """Pixel decoder, masked-attention decoder, and a class per query.

    Args:
        encoder: Whose features are decoded; of three scales or more.
        n_outputs: Label-map values.
        width: Channels of all parts, a multiple of 32.

    Raises:
        ModelError: If `transformers` is not installed, or encoder or width do not suit.
    """

    def __init__(self, encoder: Encoder, n_outputs: int, *, width: int) -> None:
        super().__init__()
        _check(encoder, width)
        self.parts = _parts(encoder, width)
        self.classes = nn.Linear(width, n_outputs + 1)  # the last: a query that shows nothing

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logarithms of the values' shares, (B, n_outputs, h, w), at the size of the finest map (B, D_s, h_s, w_s)."""
        pixels = self.parts.pixel_decoder([maps.float() for maps in features], return_dict=True)
        decoded = self.parts.transformer(list(pixels.multi_scale_features), pixels.mask_features)
        queries = decoded.intermediate_hidden_states[-1].transpose(0, 1)  # (B, Q, width)
        shows = self.classes(queries).softmax(dim=-1)[..., :-1]
        masks = decoded.masks_queries_logits[-1].sigmoid()
        shares: Tensor = torch.einsum("bqv,bqhw->bvhw", shows, masks)
        return shares.clamp(min=_LEAST_SHARE).log()


def _check(encoder: Encoder, width: int) -> None:
    if len(encoder.channels) < _N_LEVELS:
        raise ModelError(
            f"decoder.head: mask2former decodes {_N_LEVELS} scales or more, model.scales has {len(encoder.channels)}"
        )
    if width % _GROUPS:
        raise ModelError(f"decoder.width: is {width}, mask2former takes multiples of {_GROUPS}")


def _parts(encoder: Encoder, width: int) -> Any:
    """Pixel decoder and transformer of `transformers`, with the weights it draws for them."""
    try:
        library: Any = importlib.import_module("transformers.models.mask2former.modeling_mask2former")
    except ImportError as err:
        raise ModelError(
            "decoder.head: mask2former needs the package transformers, which is not installed; pip install "
            "'wsi-lpd[mask2former]', or set decoder.head=segformer"
        ) from err

    class Parts(library.Mask2FormerPreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.pixel_decoder = library.Mask2FormerPixelDecoder(config, feature_channels=list(encoder.channels))
            self.transformer = library.Mask2FormerTransformerModule(width, config)
            self.post_init()

    return Parts(
        library.Mask2FormerConfig(
            feature_size=width,
            mask_feature_size=width,
            hidden_dim=width,
            encoder_feedforward_dim=2 * width,
            dim_feedforward=4 * width,
            encoder_layers=_LAYERS,
            decoder_layers=_LAYERS * _N_LEVELS + 1,
            num_attention_heads=_HEADS,
            num_queries=_QUERIES,
            feature_strides=list(encoder.reductions),
            common_stride=min(encoder.reductions),
        )
    )
