"""Tiling, segmenting and drawing against peers and limits: the parts of `make bench`, a module each."""

from benchmarks.engine.models import random_run
from benchmarks.engine.place import Place

__all__ = ["Place", "random_run"]
