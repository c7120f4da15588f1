"""The same command lines on two commits: what a change costs or saves."""

from benchmarks.commits.cases import PARTS, Case, Inputs
from benchmarks.commits.checkout import Checkout, opened

__all__ = ["PARTS", "Case", "Checkout", "Inputs", "opened"]
