"""The slide of a task, and the folder that its paths are relative to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wsi_lpd.errors import ClusterError


@dataclass(frozen=True)
class SlideItem:
    """A slide to be processed.

    Attributes:
        location: Path, relative to the working directory of the call, or URL.
        mpp: Micrometres per pixel of level 0 as given by the user, or None.
    """

    location: str
    mpp: float | None = None

    def __str__(self) -> str:
        return self.location


def enter_folder(folder: Path) -> None:
    """Changes a worker's working directory to that of the call, so that relative paths are valid.

    Raises:
        ClusterError: If the worker's machine does not have that folder.
    """
    try:
        os.chdir(folder)
    except OSError as err:
        raise ClusterError(
            f"{folder}: does not exist on a worker's machine ({err.strerror}); use a folder that all machines share"
        ) from err
