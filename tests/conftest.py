"""Fixtures that several rooms use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors here are small: threads would only wait for each other


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides: `WSI_LPD_DATA`, else `../shared/data` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WSI_LPD_DATA", beside))
    if not (folder / "wsi").is_dir():
        pytest.skip(f"no real slides at {folder}: set WSI_LPD_DATA to the folder that holds wsi/")
    return folder
