"""Benchmarks: `python -m benchmarks` names them, `python -m benchmarks.NAME [--quick] [--json]` runs one."""
