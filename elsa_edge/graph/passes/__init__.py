"""Rewrites of a graph, one per file, each opening with its equation. The order for one level is in `graph/fixed.py`.

A pass only emits nodes: what it computes from constants is left for constant folding, here or in the runtime. Numbers
that it needs for a decision come from `elsa_edge.graph.numbers`.
"""
