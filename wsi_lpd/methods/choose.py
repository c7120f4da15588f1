"""From a configuration to a method."""

from __future__ import annotations

from collections.abc import Sequence

from wsi_lpd.config import Config
from wsi_lpd.methods.base import Method
from wsi_lpd.methods.cam import Cam
from wsi_lpd.methods.decoder import Decoder
from wsi_lpd.methods.lpd import Lpd
from wsi_lpd.methods.mlps import Mlps
from wsi_lpd.methods.pbip import Pbip
from wsi_lpd.methods.pscl import Pscl
from wsi_lpd.methods.reference import LpdReference
from wsi_lpd.methods.tpro import Tpro
from wsi_lpd.methods.uam import Uam


def build_method(
    config: Config, class_names: Sequence[str], *, mask_weights: tuple[float, ...] = Method.mask_weights
) -> Method:
    """The method that `config.method` names; its preset is in the configuration already.

    Args:
        config: The configuration.
        class_names: In the order of the labels.
        mask_weights: Of the pseudo masks that a decoder learns from.
    """
    match config.method:
        case "lpd":
            return Lpd(config)
        case "cam":
            return Cam(config.loss)
        case "pbip":
            return Pbip(config, class_names)
        case "lpd-reference":
            return LpdReference(config)
        case "pscl":
            return Pscl(config)
        case "mlps":
            return Mlps(config)
        case "tpro":
            return Tpro(config, class_names)
        case "uam":
            return Uam(config)
        case "decoder":
            return Decoder(config.decoder, mask_weights)
