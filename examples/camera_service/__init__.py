"""A small HTTP service around an AdaptiveSession: image in; label, level and latency out. See README.md beside this."""
