"""Benchmarks, run by hand from the repository's root: `python -m benchmarks.engine.bench`. README.md lists them all."""

__all__: list[str] = []
