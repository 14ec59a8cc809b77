"""Whole networks in half floats, with levels: `exporter`, and `range` for what half floats cannot hold."""
