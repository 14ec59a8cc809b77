"""The controller against other ways to choose a level: `python -m benchmarks.qos`."""
