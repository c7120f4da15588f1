"""From a configuration to a method."""

from __future__ import annotations

from collections.abc import Sequence

from wsi_lpd.config import Config
from wsi_lpd.methods.base import Method
from wsi_lpd.methods.cam import Cam
from wsi_lpd.methods.lpd import Lpd
from wsi_lpd.methods.pbip import Pbip
from wsi_lpd.methods.reference import LpdReference


def build_method(config: Config, class_names: Sequence[str]) -> Method:
    """The method that `config.method` names; its preset is in the configuration already."""
    match config.method:
        case "lpd":
            return Lpd(config)
        case "cam":
            return Cam(config.loss)
        case "pbip":
            return Pbip(config, class_names)
        case "lpd-reference":
            return LpdReference(config)
