"""The folder a run leaves behind: configuration, metrics, resumable state, and at last the model."""

from __future__ import annotations

import csv
import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from wsi_lpd.config import Config, dump_config, load_config
from wsi_lpd.errors import ConfigError, TrainingError, one_line
from wsi_lpd.files import replacing, write_text
from wsi_lpd.methods.base import TERMS
from wsi_lpd.models.saved.card import CARD_FILE, load_card
from wsi_lpd.training.run.identity import HASH, decides_training, flat_settings

logger = logging.getLogger(__name__)

Folder = TypeVar("Folder", bound="RunFolder")

_METRICS = "metrics.csv"
_STATE = "training.pt"
_CONFIG = "config.yaml"
_IDENTITY = "identity.json"


class RunFolder:
    """One run on disk.

    Attributes:
        last_file: What is written last.
        columns: Of its table of metrics.
    """

    last_file: ClassVar[str] = CARD_FILE
    columns: ClassVar[Sequence[str]] = (
        "step", "epoch", "part", "learning_rate", "loss", *TERMS,
        "diversity_gradient_ratio", "auroc", "f1", "exact_match", "miou", "miou_oracle_gate",
        "patches_per_s", "data_wait",
    )  # fmt: skip

    def __init__(self, path: Path) -> None:
        self.path = path

    def decides(self, key: str) -> bool:
        """Whether the setting of a dotted key changes the weights that come out."""
        return decides_training(key)

    @property
    def state_path(self) -> Path:
        """The resumable state."""
        return self.path / _STATE

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        return (self.path / self.last_file).is_file()

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
        """Replaces the resumable state.

        Raises:
            TrainingError: If it cannot be written; the one before stays.
        """
        try:
            with replacing(self.state_path) as temporary:
                torch.save(dict(state), temporary)
        except RuntimeError as err:  # what torch makes of a full disk
            raise TrainingError(
                f"{self.state_path}: cannot be written ({str(err).splitlines()[0]}); make room on the disk, and run "
                "the same command again to go on"
            ) from err

    def load_state(self) -> dict[str, Any] | None:
        """The resumable state, or None where none was written yet.

        Raises:
            TrainingError: If the file cannot be read.
        """
        path = self.state_path
        if not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as err:  # torch raises many types here
            raise TrainingError(f"{path}: cannot be read ({one_line(err)}); remove it to start the run over") from err
        if not isinstance(state, dict):
            raise TrainingError(f"{path}: holds no training state; remove it to start the run over")
        return state

    def resumed(self, state: Mapping[str, Any], load: Callable[[Mapping[str, Any]], None], total_steps: int) -> int:
        """The step to go on with, after `load` has taken over a state of this folder.

        Raises:
            TrainingError: If it does not fit.
        """
        try:
            load(state)
            step = int(state["step"])
        except (KeyError, TrainingError, TypeError) as err:
            reason = err if isinstance(err, TrainingError) else f"is no training state of wsi-lpd ({err!r})"
            raise TrainingError(f"{self.state_path}: {reason}; remove it to start the run over") from err
        if not 0 <= step <= total_steps:
            raise TrainingError(
                f"{self.state_path}: is of step {step}, this run has {total_steps}; remove it to start over"
            )
        logger.info("%s: going on at step %d of %d", self.path, step, total_steps)
        return step

    def changed_settings(self, config: Config) -> list[str]:
        """Settings that decide the weights and were others when the run was started, as `key was, now is`."""
        try:
            then = flat_settings(load_config(self.path / _CONFIG))
        except ConfigError:  # written by another version
            return []
        now = flat_settings(config)
        return [f"{k} {then[k]}, now {now[k]}" for k in now if self.decides(k) and then.get(k) != now[k]]

    def scores(self) -> dict[str, float]:
        """Scores of a finished run on its held-out patches."""
        return {name: value for name, value in load_card(self.path).metrics.items() if value is not None}

    def metrics(self, *, from_step: int) -> MetricsFile:
        """The table of metrics, cut back to what was written before `from_step`."""
        return MetricsFile(self.path / _METRICS, self.columns, from_step=from_step)


class MetricsFile:
    """A CSV table with one line per logged step and one per validation."""

    def __init__(self, path: Path, columns: Sequence[str], *, from_step: int) -> None:
        self._path = path
        self._columns = columns
        kept = []
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as stream:
                kept = [row for row in csv.DictReader(stream) if _step_of(row) <= from_step]
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self._columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends one line; a column that is not in `row` stays empty."""
        with self._path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self._columns, lineterminator="\n")
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def choose_run(
    runs_dir: Path, out: Path | None, *, config: Config, identity: Mapping[str, str], resume: bool | None
) -> RunFolder:
    """The folder to train in: the one asked for, an unfinished run of the same configuration and data, or a new one.

    Args:
        runs_dir: Where runs are kept.
        out: The folder asked for, or None.
        config: The configuration; its name is that of a new run.
        identity: Result of `run_identity`.
        resume: True must find a run to go on with, False never does, None does where there is one.

    Raises:
        TrainingError: If `out` belongs to another run, or there is nothing to resume.
    """
    if out is not None:
        return asked_for(RunFolder(out), config, identity, resume)
    if resume is not False:
        found = _unfinished(runs_dir, identity)
        if found is not None:
            return found
    if resume:
        raise TrainingError(f"{runs_dir}: holds no unfinished run of this configuration and data; leave out --resume")
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    endings = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))  # of runs begun in the same second
    paths = (runs_dir / f"{stamp}-{config.name}{ending}" for ending in endings)
    return RunFolder(next(path for path in paths if not path.exists()))


def asked_for(folder: Folder, config: Config, identity: Mapping[str, str], resume: bool | None = None) -> Folder:
    """The folder, if it is empty or holds the same run.

    Raises:
        TrainingError: If it holds anything else, or nothing although `resume` is True.
    """
    found = folder.identity()
    if found is None:
        if resume:
            raise TrainingError(f"{folder.path}: holds no run to resume; leave out --resume")
        if folder.path.is_dir() and any(folder.path.iterdir()):
            raise TrainingError(f"{folder.path}: is not empty and no run of ours; choose another --out")
        return folder
    if found != dict(identity):
        differs = "; ".join(
            _told(key, found.get(key), value, folder.changed_settings(config))
            for key, value in identity.items()
            if found.get(key) != value
        )
        raise TrainingError(f"{folder.path}: holds a run with another {differs}. Choose another --out, or remove it")
    return folder


def _told(key: str, then: str | None, now: str, changed: Sequence[str]) -> str:
    name = {"config": "configuration"}.get(key, key.replace("_", " "))
    if key == "config":
        return f"{name} ({'; '.join(changed)})" if changed else name
    is_hash = now.startswith(HASH)
    return name if then is None or is_hash else f"{name} ({then}, now {now})"


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
