"""The folder of a pretraining: resumable state, metrics, and finally weights in the hub's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from safetensors.torch import save_file
from torch import Tensor

from wsi_lpd.config import Config
from wsi_lpd.files import replacing, write_text
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.training.run.identity import config_digest, patch_mpp
from wsi_lpd.training.run.run_folder import RunFolder

WEIGHTS_FILE: Final = "model.safetensors"
ABOUT_FILE: Final = "config.json"

_SECTIONS = ("model.", "pretrain.")
_WITHOUT_PART = ("model.frozen", "model.adapter", "model.fusion_weights", "model.prototype", "model.merge",
                 "model.scores", "model.initial_scale", "model.background")  # fmt: skip
_OF_TRAIN = ("train.precision", "train.channels_last", "train.compile", "train.deterministic", "train.seed")


def decides_pretraining(key: str) -> bool:
    """Whether a setting changes the weights that pretraining ends with."""
    return key in _OF_TRAIN or (key.startswith(_SECTIONS) and not key.startswith(_WITHOUT_PART))


class PretrainFolder(RunFolder):
    """Like the folder of a training run; `config.json` is written last."""

    last_file = ABOUT_FILE
    columns = ("step", "epoch", "part", "learning_rate", "loss", "feature_std", "projected_std",
               "patches_per_s", "data_wait")  # fmt: skip

    def decides(self, key: str) -> bool:
        """Whether the setting of a dotted key changes the weights that come out."""
        return decides_pretraining(key)

    def last_metrics(self) -> dict[str, float]:
        """Metrics of the last step of a finished pretraining."""
        return dict(json.loads((self.path / ABOUT_FILE).read_text(encoding="utf-8"))["metrics"])

    def save_weights(self, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Writes tensors under timm's names, and the description that timm's layout asks for."""
        with replacing(self.path / WEIGHTS_FILE) as temporary:
            save_file({key: value.clone().contiguous() for key, value in state.items()}, temporary,
                      metadata={"format": "pt"})  # fmt: skip
        write_text(self.path / ABOUT_FILE, json.dumps(about, indent=1) + "\n")


def pretraining_identity(config: Config, table: LabelTable) -> dict[str, str]:
    """What makes two pretrainings the same: the settings that decide the weights, and the patches."""
    return {
        "config": config_digest(config, decides_pretraining),
        "patches": f"{table.patch_px} px at {patch_mpp(table, config):g} um/px",
        "pretraining_data": table.fingerprint,
    }
