"""Rows over seeds: the mean, and the half-width of its 95 % interval; accuracies in per cent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from benchmarks.accuracy import mean_and_interval
from benchmarks.repair.kept import Row

__all__ = ["fashion_table", "seeds_table"]


def _grouped(rows: Sequence[Row], columns: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in columns)].append(row)
    return groups


def _mean(rows: Sequence[Row], name: str) -> float:
    return sum(float(row[name]) for row in rows) / len(rows)


def _repaired(rows: Sequence[Row]) -> Row:
    mean, half = mean_and_interval([100.0 * row["repaired"] for row in rows])
    dense = 100.0 * _mean(rows, "dense")
    return {
        "repaired": round(mean, 2),
        "interval": None if half is None else round(half, 2),
        "minus_dense": round(mean - dense, 2) + 0.0,
    }


def fashion_table(rows: Sequence[Row], cuts: Sequence[Row]) -> list[Row]:
    """Return one row per mode, granularity and level, beside what the cut was worth before the repair.

    Args:
        rows: Of `repaired_resnet`, one a seed and level.
        cuts: Of `cut_resnet`, one a granularity and level.
    """
    before = {(cut["granularity"], cut["sparsity"]): cut for cut in cuts}
    table = []
    columns = ("mode", "granularity", "sparsity", "asked_steps")
    for (mode, granularity, sparsity, steps), members in _grouped(rows, columns).items():
        cut = before.get((granularity, sparsity), {})
        known = {
            name: None if name not in cut else round(100.0 * cut[name], 2)
            for name in ("as_cut", "batch_norm")
        }
        table.append(
            {
                "network": "ResNet-14, Fashion-MNIST",
                "mode": mode,
                "granularity": granularity,
                "sparsity": sparsity,
                "steps": steps,
                "seeds": len(members),
                "dense": round(100.0 * _mean(members, "dense"), 2),
                **known,
                **_repaired(members),
                "cpu_s_a_level": round(_mean(members, "cpu_s"), 1),
                "wall_s_a_level": round(_mean(members, "wall_s"), 1),
                "weights_kept": all(row["weights_kept"] for row in members),
            }
        )
    return table


def seeds_table(rows: Sequence[Row]) -> list[Row]:
    """Return one row per network, mode and level of the small networks."""
    table = []
    for (network, mode, sparsity), members in _grouped(rows, ("network", "mode", "sparsity")).items():
        shown = {name: round(100.0 * _mean(members, name), 2) for name in ("dense", "as_cut")}
        table.append(
            {
                "network": network,
                "mode": mode,
                "sparsity": sparsity,
                "seeds": len(members),
                **shown,
                **_repaired(members),
                "cpu_s": round(_mean(members, "cpu_s"), 1),
                "wall_s": round(_mean(members, "wall_s"), 1),
            }
        )
    return table
