"""What repairing the levels of a trained checkpoint buys: `python -m benchmarks.repair`."""
