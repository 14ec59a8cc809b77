"""The whole path in one command, on real data, small enough for a few minutes of a small machine."""
