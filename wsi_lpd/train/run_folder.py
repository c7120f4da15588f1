"""The folder a run leaves behind: configuration, metrics, resumable state, and at last the model."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from wsi_lpd.config import Config, dump_config
from wsi_lpd.errors import TrainingError
from wsi_lpd.files import replacing, write_text
from wsi_lpd.models.card import CARD_FILE, load_card
from wsi_lpd.patches.labels import LabelTable

_METRICS = "metrics.csv"
_STATE = "training.pt"
_CONFIG = "config.yaml"
_IDENTITY = "identity.json"


def run_identity(config: Config, training: LabelTable, validation: LabelTable | None) -> dict[str, str]:
    """What makes two runs the same: the configuration that training reads, and the labels."""
    relevant = {k: v for k, v in config.model_dump(mode="json").items() if k not in ("tile", "segment")}
    return {
        "config": _digest(json.dumps(relevant, sort_keys=True).encode()),
        "training_data": table_fingerprint(training),
        "validation_data": "none" if validation is None else table_fingerprint(validation),
    }


def table_fingerprint(table: LabelTable) -> str:
    """Hash of classes, labels and the places the patches come from."""
    places = "\n".join(f"{source.path.name}:{source.index}" for source in table.sources)
    return _digest(json.dumps(table.classes).encode() + table.labels.tobytes() + places.encode())


class RunFolder:
    """One run on disk; made by `new_run` or found by `unfinished_run`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def finished(self) -> bool:
        """Whether the model is there (its card is written last)."""
        return (self.path / CARD_FILE).is_file()

    def identity(self) -> dict[str, str] | None:
        """Identity of the run, or None where the folder is no run."""
        try:
            found = json.loads((self.path / _IDENTITY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def start(self, config: Config, identity: Mapping[str, str]) -> None:
        """Writes the configuration and the identity."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / _CONFIG, dump_config(config))
        write_text(self.path / _IDENTITY, json.dumps(dict(identity), indent=1))

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replaces the resumable state."""
        with replacing(self.path / _STATE) as temporary:
            torch.save(dict(state), temporary)

    def load_state(self) -> dict[str, Any] | None:
        """The resumable state, or None where none was written yet.

        Raises:
            TrainingError: If the file cannot be read.
        """
        path = self.path / _STATE
        if not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as err:  # torch raises many types here
            raise TrainingError(f"{path}: cannot be read ({err}); remove it to start the run anew") from err
        if not isinstance(state, dict):
            raise TrainingError(f"{path}: holds no training state; remove it to start the run anew")
        return state

    def scores(self) -> dict[str, float]:
        """Scores of a finished run on its held-out patches."""
        return {name: value for name, value in load_card(self.path).metrics.items() if value is not None}

    def metrics(self, *, from_step: int) -> MetricsFile:
        """The table of metrics, cut back to what was written before `from_step`."""
        return MetricsFile(self.path / _METRICS, from_step=from_step)


class MetricsFile:
    """A CSV table with one line per logged step and one per validation."""

    COLUMNS = (
        "step", "epoch", "part", "learning_rate", "loss", "classification", "exclusion", "background", "diversity",
        "usage", "similarity", "diversity_gradient_ratio", "auroc", "f1", "exact_match", "miou",
        "patches_per_s", "data_wait",
    )  # fmt: skip

    def __init__(self, path: Path, *, from_step: int) -> None:
        self._path = path
        kept = []
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as stream:
                kept = [row for row in csv.DictReader(stream) if _step_of(row) <= from_step]
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self.COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends one line; a column that is not in `row` stays empty."""
        with self._path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self.COLUMNS, lineterminator="\n")
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def choose_run(
    runs_dir: Path, out: Path | None, *, name: str, identity: Mapping[str, str], resume: bool | None
) -> RunFolder:
    """The folder to train in: the one asked for, an unfinished run of the same configuration and data, or a new one.

    Args:
        runs_dir: Where runs are kept.
        out: The folder asked for, or None.
        name: Name of a new run.
        identity: Result of `run_identity`.
        resume: True must find a run to go on with, False never does, None does where there is one.

    Raises:
        TrainingError: If `out` belongs to another run, or there is nothing to resume.
    """
    if out is not None:
        return _asked_for(RunFolder(out), identity, resume)
    if resume is not False:
        found = _unfinished(runs_dir, identity)
        if found is not None:
            return found
    if resume:
        raise TrainingError(f"{runs_dir}: holds no unfinished run of this configuration and data; leave out --resume")
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return RunFolder(runs_dir / f"{stamp}-{name}")


def _asked_for(folder: RunFolder, identity: Mapping[str, str], resume: bool | None) -> RunFolder:
    found = folder.identity()
    if found is None:
        if resume:
            raise TrainingError(f"{folder.path}: holds no run to resume; leave out --resume")
        if folder.path.is_dir() and any(folder.path.iterdir()):
            raise TrainingError(f"{folder.path}: is not empty and no run of ours; choose another --out")
        return folder
    if found != dict(identity):
        differs = ", ".join(k.replace("_", " ") for k in identity if found.get(k) != identity[k])
        raise TrainingError(f"{folder.path}: holds a run with another {differs}; choose another --out or remove it")
    return folder


def _unfinished(runs_dir: Path, identity: Mapping[str, str]) -> RunFolder | None:
    if not runs_dir.is_dir():
        return None
    for path in sorted((p for p in runs_dir.iterdir() if p.is_dir()), reverse=True):
        folder = RunFolder(path)
        if not folder.finished and folder.identity() == dict(identity):
            return folder
    return None


def _step_of(row: Mapping[str, str]) -> int:
    text = row.get("step") or ""
    return int(text) if text.isdigit() else -1


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
