"""What the methods are compared on: patches with image-level labels, and whole images to score.

A cohort is prepared once and is then a folder: `patches/patches.csv` to learn from, and `held-out/*.npz` with pixels,
true map and group of every image that no training sees.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data.text_vectors import VECTORS_FILE
from wsi_lpd.errors import ConfigError
from wsi_lpd.evaluation.true_images import TrueImage
from wsi_lpd.files import replacing, write_text


@dataclass(frozen=True)
class Cohort:
    """A prepared cohort.

    Attributes:
        name: `synthetic` or `wsss4luad`.
        folder: Where it lies.
    """

    name: str
    folder: Path

    @property
    def labels(self) -> Path:
        """The label table of the training patches."""
        return self.folder / "patches" / "patches.csv"

    @property
    def held_out(self) -> HeldOut:
        """The images to score."""
        return HeldOut(self.folder / "held-out")

    def describe(self) -> str:
        """Its size in words."""
        groups = {image.group for image in self.held_out}
        n_px = sum(image.truth.size for image in self.held_out)
        return (
            f"{self.name}: {self.n_patches():,} patches to learn from (some held out for calibration), "
            f"{len(self.held_out)} images of {len(groups)} sources to score ({n_px / 1e6:.1f} M pixels)"
        )

    @property
    def vectors(self) -> Path:
        """Stand-in text vectors of its classes, for method tpro."""
        return self.folder / VECTORS_FILE

    def n_patches(self) -> int:
        """Patches of the label table."""
        with self.labels.open(encoding="utf-8", newline="") as stream:
            return sum(1 for _ in csv.DictReader(stream))


@dataclass(frozen=True)
class HeldOut:
    """The held-out images of a folder, read one at a time."""

    folder: Path

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.npz") if not path.name.startswith("."))

    def __len__(self) -> int:
        return len(self._files())

    def __iter__(self) -> Iterator[TrueImage]:
        for path in self._files():
            with np.load(path, allow_pickle=False) as arrays:
                yield TrueImage(path.stem, str(arrays["group"]), arrays["pixels"], arrays["truth"])


def keep(folder: Path, image: TrueImage) -> None:
    """Writes a held-out image of the cohort in `folder`."""
    path = folder / "held-out" / f"{image.name}.npz"
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, pixels=image.pixels, truth=image.truth, group=np.array(image.group))


def write_share(labels: Path, to: Path, share: float) -> None:
    """Writes a label table that keeps `share` of the patches of a table, always the same ones."""
    with labels.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    kept = np.sort(np.random.default_rng(0).permutation(len(rows))[: round(share * len(rows))])
    store = header.index("store")
    for row in rows:
        row[store] = str((labels.parent / row[store]).resolve())
    with replacing(to) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *(rows[i] for i in kept)])


def is_ready(folder: Path, made_from: dict[str, object]) -> bool:
    """Whether the folder holds the finished cohort.

    Raises:
        ConfigError: If it holds another one.
    """
    path = folder / "cohort.json"
    if not path.is_file():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != made_from:
        raise ConfigError(f"{folder}: holds a cohort of other slides or images; choose another --out, or remove it")
    return True


def mark_ready(folder: Path, made_from: dict[str, object]) -> None:
    """Notes that the cohort in the folder is finished."""
    write_text(folder / "cohort.json", json.dumps(made_from, indent=1))
