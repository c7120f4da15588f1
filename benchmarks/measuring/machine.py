"""One line about the machine that numbers were measured on; no name of it."""

from __future__ import annotations

import os
import platform
from typing import Any

from wsi_lpd.versions import versions_of


def machine() -> dict[str, Any]:
    """Cores, memory, accelerator and versions."""
    import torch  # here, so that processes measured for memory can import this module

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": usable_cores(),
        "memory_gb": round(pages / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": versions_of(("torch", "timm", "numpy")),
    }


def machine_line() -> str:
    """The same as a sentence."""
    found = machine()
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    gpu = "no GPU" if found["gpu"] is None else found["gpu"]
    return f"{found['cores']} cores, {found['memory_gb']} GB, {gpu}; Python {found['python']}, {versions}"


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
