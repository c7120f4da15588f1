"""The command line of a benchmark as it is printed above its tables."""

from __future__ import annotations

import sys

_FOLDERS = ("--data", "--out", "--figures")
_ASSIGNED = tuple(f"{option}=" for option in _FOLDERS)


def command_line(module: str) -> str:
    """The command that runs this process, without the folders of this machine.

    Args:
        module: Its name below `benchmarks`.
    """
    words = [f"{word.split('=')[0]}=..." if word.startswith(_ASSIGNED) else word for word in sys.argv[1:]]
    hidden = ["..." if i and words[i - 1] in _FOLDERS else word for i, word in enumerate(words)]
    return " ".join(["python", "-m", f"benchmarks.{module}", *hidden])
