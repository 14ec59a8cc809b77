"""The figures that a repair must reach, from the tables of the benchmark.

The goals on Fashion-MNIST were set on a network with 92.5 %; they are compared as distances to the dense network that
is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.common import Claim, at_least, at_most
from benchmarks.repair.kept import Row

__all__ = ["claims_of"]

_DENSE: Final = 92.5
_GOALS: Final = (
    # mode, granularity, sparsity, goal
    ("tables", "unstructured", 0.9, 91.3),
    ("tables", "unstructured", 0.95, 88.5),
    ("weights", "unstructured", 0.9, 92.1),
    ("weights", "unstructured", 0.95, 91.3),
    ("weights", "1x4", 0.9, 91.2),
)
_AGREEMENTS: Final = ((0.5, 0.9), (0.7, 0.8), (0.8, 0.65))


def claims_of(table: Sequence[Row], photographs: Sequence[Row]) -> list[Claim]:
    """Return every claim; one whose row is missing was not measured.

    Args:
        table: Of `fashion_table`.
        photographs: Rows of `repaired_photographs`.
    """

    def of(mode: str, granularity: str, sparsity: float) -> float | None:
        wanted = (mode, granularity, sparsity)
        found = [r["minus_dense"] for r in table if (r["mode"], r["granularity"], r["sparsity"]) == wanted]
        return max(found, default=None)

    claims = []
    for mode, granularity, sparsity, goal in _GOALS:
        name = f"{mode}, {sparsity:.0%} {granularity}: accuracy minus dense, points ({goal} of {_DENSE})"
        claims.append(at_least(name, round(goal - _DENSE, 1), of(mode, granularity, sparsity)))
    own, unchanged = of("weights", "unstructured", 0.0), of("tables", "unstructured", 0.0)
    claims.append(at_least("weights: dense level minus the network that was brought, points", -0.3, own))
    changed = None if unchanged is None else abs(unchanged)
    claims.append(at_most("tables: change of the dense level, points", 0.0, changed))
    tables = [row["weights_kept"] for row in table if row["mode"] == "tables"]
    share = sum(tables) / len(tables) if tables else None
    claims.append(at_least("tables: weights equal to the bit, share of runs", 1.0, share))
    for granularity, most in (("unstructured", 180.0), ("1x4", 240.0)):
        found = [row["cpu_s_a_level"] for row in table if row["granularity"] == granularity]
        claims.append(at_most(f"{granularity}: CPU seconds of a level", most, max(found, default=None)))
    return [*claims, *_of_photographs(photographs)]


def _of_photographs(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for network in ("EfficientNet-Lite0", "MobileNetV2"):
        own = [row for row in rows if row["network"] == network]
        for sparsity, goal in _AGREEMENTS:
            found = [
                row["repaired"] for row in own if row["mode"] == "weights" and row["sparsity"] == sparsity
            ]
            name = f"{network}, {sparsity:.0%}, weights: agreement on crops of held-out photographs"
            claims.append(at_least(name, goal, max(found, default=None)))
        claims.append(
            at_most(
                f"{network}: CPU seconds of a repair", 900.0, max((r["cpu_s"] for r in own), default=None)
            )
        )
    return claims
