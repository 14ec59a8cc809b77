"""Nested sparsity: what can be sparse, scores, allocation, patterns, selection; levels in one shot."""

from __future__ import annotations

from elsa_edge.sparsify.oneshot import sparsify

__all__ = ["sparsify"]
