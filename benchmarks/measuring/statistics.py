"""Medians, ratios of measurements made side by side, and bootstrap intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

DRAWS: Final = 10_000
"""Bootstrap samples behind every interval."""
TAILS: Final = (2.5, 97.5)
"""Percentiles at the ends of a 95 % interval."""


class Estimate(NamedTuple):
    """A value and its 95 % interval; the ends are None where there is nothing to resample."""

    mean: float
    low: float | None
    high: float | None

    @property
    def is_ahead(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low is not None and self.low > 0

    @property
    def is_behind(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high is not None and self.high < 0

    def text(self, *, signed: bool = False) -> str:
        """`0.712 [0.700, 0.725]`, or the value alone where there is no interval."""
        form = "+.3f" if signed else ".3f"
        if self.low is None or self.high is None:
            return f"{self.mean:{form}}"
        return f"{self.mean:{form}} [{self.low:{form}}, {self.high:{form}}]"


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Each value divided by the one measured beside it; the longer list is cut."""
    return [value / other for value, other in zip(values, others, strict=False)]


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Median of the paired ratios: a busy minute hits both of a pair, and cancels."""
    return statistics.median(ratios(values, others))


def ratio_estimate(values: Sequence[float], others: Sequence[float], *, draws: int = DRAWS) -> Estimate:
    """Median of the paired ratios with a bootstrap interval over the pairs."""
    paired = np.array(ratios(values, others))
    if len(paired) < 2:
        return Estimate(float(np.median(paired)), None, None)
    drawn = np.random.default_rng(0).choice(paired, (draws, len(paired)))
    low, high = np.percentile(np.median(drawn, axis=1), TAILS)
    return Estimate(float(np.median(paired)), float(low), float(high))
