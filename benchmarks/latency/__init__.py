"""Latency of nested sparse kernels against dense and sparse engines: `python -m benchmarks.latency`."""
