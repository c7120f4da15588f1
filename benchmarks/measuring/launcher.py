"""Runs a command and writes what it used to a file, as JSON.

    python -S launcher.py FILE COMMAND...

A process inherits the peak of resident memory of whoever starts it. This one stays small, so a command that it starts
is measured by its own peak.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Ends with the exit status of the command."""
    summary_file, command = sys.argv[1], sys.argv[2:]
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(pid, 0)
    summary = {
        "wall_s": time.perf_counter() - started,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }
    with open(summary_file, "w", encoding="utf-8") as stream:  # noqa: PTH123  # importing pathlib takes memory
        json.dump(summary, stream)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
