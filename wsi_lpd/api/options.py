"""What several functions of the API take, in every form they take it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_lpd.errors import OptionError

if TYPE_CHECKING:
    from wsi_lpd.config import Config
    from wsi_lpd.distributed.cluster import ClusterChoice

PathLike = str | os.PathLike[str]
Settings = Sequence[str] | Mapping[str, Any]
"""`key=value` texts as for `--set`, or values by dotted key."""


def as_path(path: PathLike) -> Path:
    """The path, `~` for the home folder as it is written."""
    return Path(path)


def optional_path(path: PathLike | None) -> Path | None:
    """The path, if there is one."""
    return None if path is None else Path(path)


def as_paths(paths: PathLike | Sequence[PathLike] | None) -> list[Path]:
    """One path, several, or none, as a list."""
    if paths is None:
        return []
    if isinstance(paths, str | os.PathLike):
        return [Path(paths)]
    return [Path(path) for path in paths]


def configuration(
    config: PathLike | Config | None, settings: Settings = (), options: Mapping[str, Any] | None = None
) -> Config:
    """The configuration that a file (or an object), settings and options make together; the later win.

    Args:
        config: A YAML file, a configuration, or None for the defaults.
        settings: Further settings.
        options: Values of options by the key they set; None leaves a key alone.

    Raises:
        ConfigError: If a key is unknown or a value cannot be used; all problems at once.
        OptionError: If `settings` are to change a configuration that is no file.
    """
    from wsi_lpd.config import Config, load_config, updated

    texts = _as_texts(settings)
    if isinstance(config, Config):
        if texts:
            raise OptionError("settings change a configuration file; give the file, or wl.config.updated(config, ...)")
        resolved = config
    else:
        resolved = load_config(optional_path(config), texts)
    chosen = {key: value for key, value in (options or {}).items() if value is not None}
    return updated(resolved, chosen) if chosen else resolved


def _as_texts(settings: Settings) -> list[str]:
    if isinstance(settings, str):
        return [settings]
    if isinstance(settings, Mapping):
        return [f"{key}={json.dumps(value, default=str)}" for key, value in settings.items()]
    return list(settings)


def class_names(classes: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Class names, from a sequence or as `Tumor,Stroma,Necrosis`.

    Raises:
        OptionError: If a name is empty or occurs twice.
    """
    if classes is None:
        return None
    names = tuple(name.strip() for name in (classes.split(",") if isinstance(classes, str) else classes))
    if "" in names or len(set(names)) < len(names):
        text = ",".join(names)
        raise OptionError(f"--classes {text}: a name is empty or given twice; expected such as Tumor,Stroma,Necrosis")
    return names


def one_of(option: str, value: str, allowed: Sequence[str]) -> str:
    """The value, if it is allowed.

    Raises:
        OptionError: If it is not.
    """
    if value not in allowed:
        raise OptionError(f"{option} {value}: expected {', '.join(allowed[:-1])} or {allowed[-1]}")
    return value


def cluster_choice(workers: int | None, scheduler: str | None, scheduler_file: PathLike | None) -> ClusterChoice | None:
    """Where the slides go; None does them here, one after another.

    Raises:
        OptionError: If more than one cluster is named, or a number of workers below one.
    """
    given = [value for value in (workers, scheduler, scheduler_file) if value is not None]
    if not given:
        return None
    if len(given) > 1:
        raise OptionError("--workers, --scheduler and --scheduler-file each name a cluster; give one of them")
    if workers is not None and workers < 1:
        raise OptionError(f"--workers {workers}: expected 1 or more")
    from wsi_lpd.distributed.cluster import ClusterChoice

    return ClusterChoice(workers, scheduler, optional_path(scheduler_file))
