"""Runtime adapters: load a variant of a bundle, run it at a level. See `elsa_edge.plugins`."""
