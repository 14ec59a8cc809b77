"""Variants whose layers are our nested sparse operators: find, store, lay out, price, choose, branch, file."""
