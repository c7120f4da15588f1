"""Which slide a task is about, and the folder it is done in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wsi_lpd.errors import ClusterError


@dataclass(frozen=True)
class SlideItem:
    """A slide, and what is known of its scale beside its own word.

    Attributes:
        location: Path or URL, as seen from the folder of the call.
        mpp: Micrometres per pixel, or None.
    """

    location: str
    mpp: float | None = None

    def __str__(self) -> str:
        return self.location


def go_to(folder: Path) -> None:
    """Makes relative paths mean in a worker what they mean where the call was made.

    Raises:
        ClusterError: If the worker's machine has no such folder.
    """
    try:
        os.chdir(folder)
    except OSError as err:
        raise ClusterError(
            f"{folder}: is not there on a worker's machine ({err.strerror}); call from a folder that all machines share"
        ) from err
