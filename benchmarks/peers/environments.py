"""The peers' environments: one each, made from the package index when first needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REQUIREMENTS: dict[str, list[list[str]]] = {
    "tiatoolbox": [["tiatoolbox==2.1.3", "openslide-bin", "pydantic", "pyyaml"]],
    "lazyslide": [["lazyslide==0.13.0", "openslide-bin"]],
    "rasterio": [["rasterio==1.4.4", "shapely==2.2.0"]],
    # histolab asks for a NumPy without wheels for Python 3.11; it runs with a newer one.
    "histolab": [
        ["--no-deps", "histolab==0.7.0"],
        [
            "openslide-python",
            "openslide-bin",
            "numpy",
            "scikit-image",
            "scipy",
            "pillow",
            "requests",
            "importlib_metadata",
            "large-image",
            "large-image-source-openslide",
        ],
    ],
}
"""Arguments of `pip install`, call by call. pydantic and pyyaml are for our network, which TIAToolbox runs."""


def python_of(peer: str, folder: Path) -> Path:
    """The interpreter of a peer's environment below `folder`; makes the environment where it is incomplete."""
    home = folder / peer
    python, done = home / "bin" / "python", home / ".complete"
    if not done.is_file():
        print(f"{peer}: making its environment", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        for packages in REQUIREMENTS[peer]:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return python


def version_of(peer: str, folder: Path) -> str:
    """Name and version of a peer, as installed."""
    program = f"from importlib.metadata import version; print(version({peer!r}))"
    found = subprocess.run([python_of(peer, folder), "-c", program], check=True, capture_output=True, text=True)
    return f"{peer} {found.stdout.strip()}"
