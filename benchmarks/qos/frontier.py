"""The frontier: mean accuracy against the share of late runs, one panel a situation, one point a policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Row

__all__ = ["draw_frontier", "points"]


def points(rows: Sequence[Row]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return situation -> policy -> (share of late runs, mean accuracy), means over all traces."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    judged = [row for row in rows if "regret" in row]
    for situation in dict.fromkeys(row["situation"] for row in judged):
        here = [row for row in judged if row["situation"] == situation]
        found[situation] = {
            policy: (
                float(np.mean([row["miss_rate"] for row in here if row["policy"] == policy])),
                float(np.mean([row["mean_accuracy"] for row in here if row["policy"] == policy])),
            )
            for policy in dict.fromkeys(row["policy"] for row in here)
        }
    return found


def draw_frontier(rows: Sequence[Row], allowed: float, file: Path) -> None:
    """Draw all situations into a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    situations = points(rows)
    figure, axes = plt.subplots(1, len(situations), figsize=(4.6 * len(situations), 4.4), squeeze=False)
    for axis, (situation, policies) in zip(axes[0], situations.items(), strict=True):
        axis.axvline(100 * allowed, color="0.8", linewidth=1)
        for policy, (late, accuracy) in policies.items():
            ours = policy in {"controller", "oracle"}
            axis.plot(100 * late, 100 * accuracy, "o" if ours else "x", color="C3" if ours else "C0")
            axis.annotate(
                policy, (100 * late, 100 * accuracy), fontsize=7, xytext=(3, 3), textcoords="offset points"
            )
        axis.set_title(situation, fontsize=9)
        axis.set_xlabel(f"late runs, percent (allowed: {100 * allowed:g})")
        axis.set_xlim(-1.0, 40.0)
    axes[0][0].set_ylabel("mean accuracy of the levels that ran, percent")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)
