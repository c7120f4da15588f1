"""Other tools at the same jobs; each module runs in the environment of its tool, which lacks our dependencies."""

from benchmarks.peers.environments import python_of, version_of

__all__ = ["python_of", "version_of"]
