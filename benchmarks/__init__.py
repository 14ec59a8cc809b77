"""Benchmarks: `python -m benchmarks.NAME [--quick] [--json]`; see docs/benchmarks.md."""
