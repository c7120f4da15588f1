"""What makes two runs the same, so that one can go on with the other: settings, labels, patches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wsi_lpd.config import Config
from wsi_lpd.labels.sources import LabelTable

HASH = "sha256:"
"""Before a value of an identity that says nothing to a reader."""

_OTHER_SECTIONS = ("tile.", "pretrain.", "masks.", "segment.")
_WITHOUT_CONSEQUENCE = frozenset(
    f"train.{name}"
    for name in (
        "processes",
        "workers",
        "worker_start",
        "cache_dir",
        "checkpoint_every",
        "log_every",
        "profile",
        "report",
    )
)


def run_identity(
    config: Config, training: LabelTable, validation: LabelTable | None, *, n_processes: int = 1
) -> dict[str, str]:
    """What makes two runs the same: the configuration that decides the weights, the labels, and the processes."""
    return {
        "config": config_digest(config, decides_training),
        "classes": ", ".join(training.classes),
        "patches": f"{training.patch_px} px at {patch_mpp(training, config):g} um/px",
        "training_data": training.fingerprint,
        "validation_data": "none" if validation is None else validation.fingerprint,
        "processes": str(n_processes),
    }


def config_digest(config: Config, decides: Callable[[str], bool]) -> str:
    """Hash of the settings whose dotted keys decide the outcome."""
    return _digest(
        json.dumps(sorted((key, value) for key, value in flat_settings(config).items() if decides(key))).encode()
    )


def patch_mpp(table: LabelTable, config: Config) -> float:
    """Micrometres per pixel of the patches; image files do not state it, so the configuration does."""
    return config.tile.mpp if table.mpp is None else table.mpp


def decides_training(key: str) -> bool:
    """Whether a setting changes the weights that training ends with."""
    return not key.startswith(_OTHER_SECTIONS) and key not in _WITHOUT_CONSEQUENCE


def flat_settings(config: Config) -> dict[str, Any]:
    """Every setting by its dotted key."""

    def walk(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in tree.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value

    return dict(walk(config.model_dump(mode="json"), ""))


def _digest(content: bytes) -> str:
    return HASH + hashlib.sha256(content).hexdigest()
