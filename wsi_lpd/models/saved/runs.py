"""Which run is meant. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from wsi_lpd.errors import ModelError
from wsi_lpd.files import write_text
from wsi_lpd.models.saved.card import CARD_FILE

MODEL_VARIABLE: Final = "WSI_LPD_MODEL"
RUNS_DIR: Final = Path("runs")
LATEST: Final = "latest"
"""A plain text file with a folder's name in it: symbolic links need rights on Windows, and zip files lose them."""

_TRACES: Final = ("config.yaml", "identity.json", "training.pt")


def find_run(model: Path | None) -> Path:
    """The run folder to use: the one given, else `$WSI_LPD_MODEL`, else the one `runs/latest` names.

    Args:
        model: A run folder, a file in it (`model.json`, `model.safetensors`), a folder of runs, or its `latest`.

    Raises:
        ModelError: If there is no finished run there.
    """
    if model is not None:
        return _run_at(model, asked_by=f"--model {model}")
    named = os.environ.get(MODEL_VARIABLE)
    if named:
        return _run_at(Path(named), asked_by=f"{MODEL_VARIABLE}={named}")
    if not (RUNS_DIR / LATEST).exists():
        raise ModelError(
            f"{RUNS_DIR / LATEST}: no model has been trained in {Path.cwd()}. Train one with `wsi-lpd train --labels "
            f"patches.csv`, or name a run with --model RUN or {MODEL_VARIABLE}."
        )
    return _run_at(RUNS_DIR / LATEST, asked_by=str(RUNS_DIR / LATEST))


def mark_latest(runs_dir: Path, run_folder: Path) -> None:
    """Makes `run_folder` the one that is used when no model is named.

    Runs inside `runs_dir` are named relative to it, so that the folder of runs can be moved; others by full path.
    """
    pointer = runs_dir / LATEST
    if pointer.is_dir() and not pointer.is_symlink():
        raise ModelError(f"{pointer}: is a folder; expected the file that names the newest run. Rename that folder.")
    run, runs = run_folder.resolve(), runs_dir.resolve()
    name = run.relative_to(runs).as_posix() if run.is_relative_to(runs) else str(run)
    write_text(pointer, f"{name}\n")


def _run_at(path: Path, *, asked_by: str) -> Path:
    if path.is_dir() and not (path / CARD_FILE).is_file() and (path / LATEST).is_file():
        path = path / LATEST
    if path.is_file():
        path = _followed(path, asked_by) if path.name == LATEST else path.parent
    if not path.exists():
        raise ModelError(f"{asked_by}: there is no {path}; expected a run folder made by `wsi-lpd train`")
    if (path / CARD_FILE).is_file():
        return path
    if any((path / name).exists() for name in _TRACES):
        raise ModelError(
            f"{asked_by}: the run {path} is not finished (no {CARD_FILE}). Repeat its `wsi-lpd train` command to go on "
            "with it, or name another run."
        )
    raise ModelError(f"{asked_by}: {path} holds no {CARD_FILE}; expected a run folder made by `wsi-lpd train`")


def _followed(pointer: Path, asked_by: str) -> Path:
    try:
        name = pointer.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise ModelError(f"{asked_by}: {pointer} cannot be read as text; name a run with --model RUN") from err
    if not name or "\n" in name or "\0" in name:
        raise ModelError(f"{asked_by}: {pointer} does not hold one folder name; name a run with --model RUN")
    return pointer.parent / name
