"""Every default value, and how a configuration file and `--set key=value` change it.

One closed schema serves all commands: `tile` reads the section `tile`, `train` reads `method`, `model`, `loss`,
the sections of the method where it has any, `augment` and `train`, `pseudo-mask` reads `masks`, `pretrain` reads
`model`, `pretrain` and some of `train`, `segment` reads `segment`. The description of a field is its documentation.
"""

from wsi_lpd.config.decoder import DecoderConfig, MasksConfig
from wsi_lpd.config.load import dump_config, load_config, updated
from wsi_lpd.config.method import MethodSpec, methods
from wsi_lpd.config.model import LossConfig, ModelConfig
from wsi_lpd.config.pretrain import PretrainConfig, ViewConfig
from wsi_lpd.config.project import Config
from wsi_lpd.config.segment import SegmentConfig
from wsi_lpd.config.tile import TileConfig, TissueConfig
from wsi_lpd.config.train import AugmentConfig, ColourConfig, TrainConfig

__all__ = [
    "AugmentConfig",
    "ColourConfig",
    "Config",
    "DecoderConfig",
    "LossConfig",
    "MasksConfig",
    "MethodSpec",
    "ModelConfig",
    "PretrainConfig",
    "SegmentConfig",
    "TileConfig",
    "TissueConfig",
    "TrainConfig",
    "ViewConfig",
    "dump_config",
    "load_config",
    "methods",
    "updated",
]
