"""Every method and the ablation under equal conditions, and what stands beside them: curves, pretraining, stages."""

from benchmarks.methods.job import Files, Job
from benchmarks.methods.resample import METRICS, SeededCounts
from benchmarks.methods.results import Results, Table
from benchmarks.methods.rows import ABLATION, METHODS, ROWS, Row

__all__ = ["ABLATION", "METHODS", "METRICS", "ROWS", "Files", "Job", "Results", "Row", "SeededCounts", "Table"]
