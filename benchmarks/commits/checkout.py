"""Another commit as a folder, and how to run `wsi-lpd` from any checkout without installing it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import ROOT, Command, Measured, run
from wsi_lpd.errors import ConfigError

_PROGRAM = "from wsi_lpd_cli.main import run; run()"
_PACKAGES = {"wsi_lpd": "wsi_lpd", "wsi_lpd_cli": "cli"}
"""Name of each package of the wheel, and its folder in a checkout."""


@dataclass(frozen=True)
class Checkout:
    """A checkout whose packages can be imported.

    Attributes:
        name: In tables.
        packages: Folder with a link to each package, for PYTHONPATH.
        commit: What git calls it, with `-dirty` where files are changed; empty outside git.
    """

    name: str
    packages: Path
    commit: str

    def run(self, words: Sequence[str | Path]) -> Measured:
        """Runs `wsi-lpd WORDS` with this checkout's code.

        Raises:
            RunFailedError: If the command fails.
        """
        paths = [str(self.packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        command: Command = [sys.executable, "-P", "-c", _PROGRAM, *words]  # -P: not what lies in the working folder
        return run(command, environment={"PYTHONPATH": os.pathsep.join(paths)})


@contextmanager
def opened(source: str, name: str) -> Iterator[Checkout]:
    """A checkout, or a temporary git worktree of a commit, which is removed at the end.

    Args:
        source: Folder of a checkout, or a commit of this repository.
        name: In tables.

    Raises:
        ConfigError: If `source` is neither.
    """
    with tempfile.TemporaryDirectory(prefix="wsi-lpd-paired-") as temporary:
        if Path(source).is_dir():
            yield _linked(Path(source).absolute(), name, Path(temporary))
            return
        folder = Path(temporary) / "worktree"
        _git("worktree", "add", "--detach", str(folder), source)
        try:
            yield _linked(folder, name, Path(temporary))
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _linked(folder: Path, name: str, temporary: Path) -> Checkout:
    packages = temporary / "packages"
    packages.mkdir()
    for package, inside in _PACKAGES.items():
        if not (folder / inside).is_dir():
            raise ConfigError(f"{folder}: found no {inside}/, expected a checkout of wsi-lpd")
        (packages / package).symlink_to(folder / inside, target_is_directory=True)
    return Checkout(name, packages, _commit_of(folder))


def _commit_of(folder: Path) -> str:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=7"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _git(*words: str) -> None:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"git {' '.join(words[:2])}: {done.stderr.strip().splitlines()[-1]}")
