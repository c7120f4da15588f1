"""Processes that the engine's benchmarks start and measure: limits of the machine, plain loops, and ours.

They print one line of JSON; each knows only what it needs, so that its peak memory is its own.
"""

__all__: list[str] = []
