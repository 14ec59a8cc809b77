"""Rows over seeds, each beside the dense network and gradual magnitude of the same length, and the claims from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.accuracy import mean_and_interval
from benchmarks.common import Claim, at_least
from benchmarks.repair.kept import Row

__all__ = ["claims_of", "table_of"]

_HALO: Final = "halo"
_EARLY: Final = "halo, cut just before the end"
_GRADUAL: Final = "gradual"
_DENSE_IN: Final = "magnitude"  # trained without a mask until the end


def _mean(rows: Sequence[Row], name: str) -> float | None:
    found = [row[name] for row in rows if name in row]
    return round(sum(found) / len(found), 2) if found else None


def table_of(runs: Sequence[tuple[dict[str, Any], list[Row]]]) -> list[Row]:
    """Return one row per network, length, method and level; settings that were chosen stand at the end.

    Args:
        runs: Arguments of `one_training` and its rows, none where it is not finished.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    chosen = []
    for arguments, rows in runs:
        for row in rows:
            facts = {name: arguments[name] for name in ("network", "epochs", "method")}
            if arguments.get("choosing"):
                chosen.append({"chosen on": "validation", **facts, "strength": arguments["xi"], **row})
                continue
            entry = {**facts, "strength": arguments.get("xi"), "levels": len(rows), **row}
            groups[
                tuple(entry[name] for name in ("network", "epochs", "method", "levels", "sparsity"))
            ].append(entry | {"seed": arguments["seed"]})
    dense = {key[:2]: rows for key, rows in groups.items() if key[2] == _DENSE_IN}
    gradual = {(key[0], key[1], key[4]): rows for key, rows in groups.items() if key[2] == _GRADUAL}
    table = []
    for key, rows in groups.items():
        network, epochs, method, levels, sparsity = key
        mean, half = mean_and_interval([row["accuracy"] for row in rows])
        table.append(
            {
                "network": network,
                "epochs_a_level": epochs,
                "method": method,
                "levels": levels,
                "sparsity": sparsity,
                "strength": rows[0]["strength"],
                "seeds": len(rows),
                "accuracy": round(mean, 2),
                "interval": None if half is None else round(half, 2),
                "before_the_cut": _mean(rows, "before"),
                "new_statistics": _mean(rows, "statistics"),
                "minus_dense": _difference(rows, dense.get(key[:2], []), ("accuracy", "before")),
                "minus_gradual": _difference(rows, rival := gradual.get((network, epochs, sparsity), [])),
                "minus_gradual_both_new_statistics": _difference(rows, rival, ("statistics", "statistics")),
            }
        )
    return [*table, *chosen]


def _difference(
    rows: Sequence[Row], others: Sequence[Row], columns: tuple[str, str] = ("accuracy", "accuracy")
) -> float | None:
    """Return the mean difference of a column to one of others, over the seeds that both have."""
    known = {row["seed"]: row[columns[1]] for row in others if columns[1] in row}
    found = [
        row[columns[0]] - known[row["seed"]] for row in rows if row["seed"] in known and columns[0] in row
    ]
    return round(sum(found) / len(found), 2) + 0.0 if found else None


def claims_of(table: Sequence[Row]) -> list[Claim]:
    """Return both claims for each network and length."""
    rows = [row for row in table if "levels" in row]
    claims = []
    for network, epochs in dict.fromkeys((row["network"], row["epochs_a_level"]) for row in rows):
        own = [row for row in rows if (row["network"], row["epochs_a_level"]) == (network, epochs)]
        where = f"{network}, {epochs} epochs a level"
        halo = next((row for row in own if row["method"] == _HALO), {})
        name = f"{where}: HALO at 95 % without fine-tuning minus gradual magnitude"
        claims.append(at_least(f"{name}, points", 0.0, halo.get("minus_gradual")))
        if halo.get("new_statistics") is not None:
            settled = halo.get("minus_gradual_both_new_statistics")
            claims.append(at_least(f"{name}, both with new statistics of BatchNorm, points", 0.0, settled))
        early = next((row for row in own if row["method"] == _EARLY), None)
        if early is not None:
            name = f"{where}: HALO at 95 % cut 3 % before the end minus gradual magnitude, points"
            claims.append(at_least(name, 0.0, early["minus_gradual"]))
        freezer = [row for row in own if row["method"] == "freeze" and row["sparsity"] < 0.9]
        claims.append(
            at_least(
                f"{where}: the freezer's level of 13.38 % minus dense, points",
                -0.5,
                next((row["minus_dense"] for row in freezer), None),
            )
        )
    return claims
