"""The file of text vectors that TPRO stands on: docs/formats.md says what is in it and how to make one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from wsi_lpd.errors import ConfigError
from wsi_lpd.files import replacing
from wsi_lpd.types import AnyArray

_NAMES, _CLASSES, _KNOWLEDGE = "names", "class_vectors", "knowledge_vectors"


@dataclass(frozen=True)
class TextVectors:
    """One row per class, in the order asked for.

    Attributes:
        classes: Of the names of the classes, float32 (C, D).
        knowledge: Of what is known of each, float32 (C, E); None where the file has none.
    """

    classes: Tensor
    knowledge: Tensor | None


def read_vectors(path: Path, class_names: Sequence[str]) -> TextVectors:
    """Reads the vectors of the given classes; the file may hold more, in any order.

    Raises:
        ConfigError: If the file cannot be read, or lacks an array or a class, or holds what is no vector.
    """
    arrays = _arrays(path)
    for name in (_NAMES, _CLASSES):
        if name not in arrays:
            raise ConfigError(f"{path}: has no array {name!r}, only {', '.join(sorted(arrays)) or 'none at all'}")
    names = [str(name) for name in arrays[_NAMES].reshape(-1)]
    missing = [name for name in class_names if name not in names]
    if missing:
        raise ConfigError(f"{path}: has no vector for {', '.join(missing)}, only for {', '.join(names)}")
    rows = [names.index(name) for name in class_names]
    knowledge = _rows(path, _KNOWLEDGE, arrays, rows, len(names)) if _KNOWLEDGE in arrays else None
    return TextVectors(_rows(path, _CLASSES, arrays, rows, len(names)), knowledge)


def write_vectors(
    path: Path, class_names: Sequence[str], class_vectors: AnyArray, knowledge_vectors: AnyArray | None = None
) -> None:
    """Writes such a file.

    Args:
        path: Ends in `.npz`.
        class_names: As the label file names the classes.
        class_vectors: (C, D).
        knowledge_vectors: (C, E).
    """
    arrays: dict[str, Any] = {
        _NAMES: np.array(list(class_names), dtype=np.str_),
        _CLASSES: np.asarray(class_vectors, np.float32),
    }
    if knowledge_vectors is not None:
        arrays[_KNOWLEDGE] = np.asarray(knowledge_vectors, np.float32)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _arrays(path: Path) -> Mapping[str, AnyArray]:
    try:
        with np.load(path, allow_pickle=False) as found:
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise ConfigError(f"{path}: is a single array, expected a .npz file of text vectors")
            return dict(found)
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read ({err.strerror or err}); set model.vectors to a .npz file") from err
    except (ValueError, EOFError, BadZipFile) as err:  # no array file at all, or one that would have to be unpickled
        raise ConfigError(f"{path}: is no .npz file of text vectors ({err})") from err


def _rows(path: Path, name: str, arrays: Mapping[str, AnyArray], rows: Sequence[int], n_names: int) -> Tensor:
    values = arrays[name]
    if values.ndim != 2 or len(values) != n_names or not np.issubdtype(values.dtype, np.floating):
        raise ConfigError(
            f"{path}: {name} is {values.dtype} {values.shape}, expected numbers with a point, one row for each of the "
            f"{n_names} names"
        )
    chosen = values[list(rows)].astype(np.float32)
    if not np.isfinite(chosen).all() or not chosen.any(axis=1).all():
        raise ConfigError(f"{path}: {name} holds a row that is all zero or not finite")
    return torch.from_numpy(chosen)
