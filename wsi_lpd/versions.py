"""Versions that results are stamped with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import wsi_lpd


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Version of this package and of those named; one that is not installed as a package is left out."""
    found = {"wsi-lpd": wsi_lpd.__version__}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
