"""Where the engine's benchmarks keep their files, and the slides they share."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import TOOL, Command

SLIDE_SIZE = "20480x18432"
SMALL_SIZE = "12288x10240"


@dataclass(frozen=True)
class Place:
    """Files and extent of a benchmark.

    Attributes:
        out: Folder of everything.
        repeats: Rounds.
        with_peers: Whether TIAToolbox, LazySlide and histolab are run.
    """

    out: Path
    repeats: int
    with_peers: bool

    @property
    def environments(self) -> Path:
        """Folder of the peers' environments."""
        return self.out / "environments"

    @property
    def scratch(self) -> Path:
        """Folder that contestants write to."""
        folder = self.out / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def slide(self, seed: int = 0, size: str = SLIDE_SIZE) -> Path:
        """A synthetic slide, 0.25 um/px, JPEG, levels 1, 4 and 16; made if it is missing."""
        folder = self.out / "slides" / size
        command: Command = [TOOL, "synth", "--size", size, "--seed", str(seed), "--no-geojson", "--out", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return folder / f"synth-{seed}.svs"
