"""Foundation encoders of pathology by their names on the Hugging Face hub: what timm has to build, what cards say.

Nothing of them is shipped. Arguments are those that the cards pass to timm; licences, gates and resolutions are what
the cards said when this was written, "see card" where that is not sure. Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wsi_lpd.config.model import HUB_PREFIXES

SEE_CARD: Final = "see card"

Triple = tuple[float, float, float]

_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_H_OPTIMUS: Final = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
_HIBOU: Final = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
_SWIGLU: Final = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}


@dataclass(frozen=True)
class CatalogueEntry:
    """One published encoder.

    Attributes:
        repository: `owner/name` on the hub.
        architecture: timm's name of the network.
        arguments: What timm is told beside it.
        patch_px: Side of a token.
        mpp: Micrometres per pixel that it learnt at, in words.
        licence: Of the weights, in words.
        gated: Whether the hub asks for an agreement first; None = see card.
        statistics: Mean and std of its input, RGB order.
        input_px: Side of the images it learnt from.
        in_transformers_layout: Whether its files are those of the library transformers, whose config.json tells all.
    """

    repository: str
    architecture: str
    patch_px: int
    mpp: str
    licence: str
    gated: bool | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    statistics: tuple[Triple, Triple] = _IMAGENET
    input_px: int = 224
    in_transformers_layout: bool = False

    @property
    def name(self) -> str:
        """As `model.encoder` takes it."""
        return f"{HUB_PREFIXES[0]}{self.repository}"


_DINOV2_REGISTERS: Final = {"img_size": 224, "init_values": 1e-5}

CATALOGUE: Final = (
    CatalogueEntry(
        "MahmoodLab/UNI", "vit_large_patch16_224", 16, "0.5", "CC-BY-NC-ND-4.0", True, {"init_values": 1e-5}
    ),
    CatalogueEntry(
        "MahmoodLab/UNI2-h",
        "vit_giant_patch14_224",
        14,
        "0.5",
        "CC-BY-NC-ND-4.0",
        True,
        {
            "img_size": 224,
            "depth": 24,
            "num_heads": 24,
            "embed_dim": 1536,
            "mlp_ratio": 5.33334,
            "init_values": 1e-5,
            "no_embed_class": True,
            "reg_tokens": 8,
            **_SWIGLU,
        },
    ),
    CatalogueEntry(
        "paige-ai/Virchow",
        "vit_huge_patch14_224",
        14,
        "0.5",
        "Apache-2.0",
        True,
        {"img_size": 224, "mlp_ratio": 5.3375, "init_values": 1e-5, **_SWIGLU},
    ),
    CatalogueEntry(
        "paige-ai/Virchow2",
        "vit_huge_patch14_224",
        14,
        "0.25 to 2",
        "CC-BY-NC-ND-4.0",
        True,
        {"img_size": 224, "mlp_ratio": 5.3375, "init_values": 1e-5, "reg_tokens": 4, **_SWIGLU},
    ),
    CatalogueEntry(
        "bioptimus/H-optimus-0",
        "vit_giant_patch14_reg4_dinov2",
        14,
        "0.5",
        "Apache-2.0",
        None,
        _DINOV2_REGISTERS,
        _H_OPTIMUS,
    ),
    CatalogueEntry(
        "bioptimus/H-optimus-1",
        "vit_giant_patch14_reg4_dinov2",
        14,
        "0.5",
        SEE_CARD,
        None,
        _DINOV2_REGISTERS,
        _H_OPTIMUS,
    ),
    CatalogueEntry(
        "prov-gigapath/prov-gigapath",
        "vit_giant_patch14_dinov2",
        16,
        "0.5",
        SEE_CARD,
        True,
        {"img_size": 224, "patch_size": 16, "mlp_ratio": 5.33334, "init_values": 1e-5},
    ),
    CatalogueEntry(
        "histai/hibou-b",
        "vit_base_patch14_reg4_dinov2",
        14,
        SEE_CARD,
        "Apache-2.0",
        False,
        {"img_size": 224, "mlp_ratio": 16 / 3, **_SWIGLU},
        _HIBOU,
        in_transformers_layout=True,
    ),
    CatalogueEntry(
        "histai/hibou-L",
        "vit_large_patch14_reg4_dinov2",
        14,
        SEE_CARD,
        "Apache-2.0",
        True,
        {"img_size": 224, "mlp_ratio": 5.34375, **_SWIGLU},
        _HIBOU,
        in_transformers_layout=True,
    ),
    CatalogueEntry(
        "owkin/phikon",
        "vit_base_patch16_224",
        16,
        "0.5",
        "Owkin non-commercial",
        None,
        in_transformers_layout=True,
    ),
    CatalogueEntry(
        "owkin/phikon-v2",
        "vit_large_patch16_224",
        16,
        "0.5",
        "Owkin non-commercial",
        None,
        {"init_values": 1e-5},
        in_transformers_layout=True,
    ),
)


def catalogue_entry(name: str) -> CatalogueEntry | None:
    """The encoder that `hf-hub:owner/name` names, None if it is unknown; upper and lower case count as equal."""
    repository = name.partition(":")[2].partition("@")[0].casefold() if name.startswith(HUB_PREFIXES) else None
    return next((known for known in CATALOGUE if known.repository.casefold() == repository), None)
