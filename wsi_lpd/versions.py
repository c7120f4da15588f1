"""Package versions recorded with results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import wsi_lpd


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Versions of this package and of `packages`; packages that are not installed are left out."""
    found = {"wsi-lpd": wsi_lpd.__version__}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
