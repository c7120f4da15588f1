"""What every benchmark measures with: processes, clocks, statistics, tables, and the machine's description.

Importing it costs little memory, since measured processes do too.
"""

from benchmarks.measuring.clock import peak_device_mb, peak_mb, seconds_of
from benchmarks.measuring.machine import machine, machine_line, usable_cores
from benchmarks.measuring.markdown import heading, row, table
from benchmarks.measuring.metrics_file import read_metrics
from benchmarks.measuring.options import names_among, parser_of
from benchmarks.measuring.processes import (
    ROOT,
    TOOL,
    Command,
    Measured,
    RunFailedError,
    environment_with,
    in_turn,
    median,
    module_command,
    numbers,
    ratio_of_runs,
    run,
)
from benchmarks.measuring.statistics import DRAWS, TAILS, Estimate, median_ratio, ratio_estimate

__all__ = [
    "DRAWS",
    "ROOT",
    "TAILS",
    "TOOL",
    "Command",
    "Estimate",
    "Measured",
    "RunFailedError",
    "environment_with",
    "heading",
    "in_turn",
    "machine",
    "machine_line",
    "median",
    "median_ratio",
    "module_command",
    "names_among",
    "numbers",
    "parser_of",
    "peak_device_mb",
    "peak_mb",
    "ratio_estimate",
    "ratio_of_runs",
    "read_metrics",
    "row",
    "run",
    "seconds_of",
    "table",
    "usable_cores",
]
