"""H&E-like slides with exact truth, for the demo, the tests and the benchmarks."""
