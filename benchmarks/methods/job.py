"""One run of the comparison: everything that decides its result, and where its files go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsi_lpd.prediction.refine import RefinementName


@dataclass(frozen=True)
class Job:
    """What a run does; everything that decides the result.

    Attributes:
        cohort: Name of the cohort.
        row: Name of the row.
        seed: Of the training.
        settings: `key=value` lines in their order, seed and cohort included.
        refinements: Each is scored.
        masks_of: The row whose run of the same cohort and seed makes the pseudo masks, for a second stage.
    """

    cohort: str
    row: str
    seed: int
    settings: tuple[str, ...]
    refinements: tuple[RefinementName, ...]
    masks_of: str | None = None

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Job:
        """What `to_json` gave."""
        return cls(**{**fields, "settings": tuple(fields["settings"]), "refinements": tuple(fields["refinements"])})

    @property
    def name(self) -> str:
        """Of its files."""
        return self.name_of(self.row)

    def name_of(self, row: str) -> str:
        """Of the files of another row's run, of the same cohort and seed."""
        return f"{self.cohort}-{row}-{self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they are found again in the result."""
        return dict(json.loads(json.dumps(asdict(self))))


@dataclass(frozen=True)
class Files:
    """Where a benchmark keeps the files of its runs.

    Attributes:
        out: The folder of the benchmark.
    """

    out: Path

    def result(self, job: Job) -> Path:
        """Scores and costs of a finished run."""
        return self.out / "results" / f"{job.name}.json"

    def log(self, job: Job) -> Path:
        """What the process printed."""
        return self.out / "logs" / f"{job.name}.log"

    def description(self, job: Job) -> Path:
        """What the process is given to do."""
        return self.out / "logs" / f"{job.name}.json"

    def run(self, job: Job) -> Path:
        """The run folder of the training."""
        return self.out / "runs" / job.name

    def missing(self, jobs: list[Job]) -> list[Job]:
        """Those without a result."""
        return [job for job in jobs if not self.result(job).is_file()]

    def results(self, jobs: list[Job]) -> dict[tuple[str, str, int], dict[str, Any]]:
        """Results of those that have one, by (cohort, row, seed)."""
        done = [job for job in jobs if self.result(job).is_file()]
        return {(job.cohort, job.row, job.seed): read_result(self.result(job)) for job in done}


def read_result(path: Path) -> dict[str, Any]:
    """What `one_run` wrote."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
