"""The results of the zoo as a table for people, and the claims that they bear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from benchmarks.common import at_least, at_most

__all__ = ["claims", "table"]

# Where a row does not say what the contract allows: relative to the output's largest number.
_ALLOWED: Final = 1e-3
_LEAST_NESTED: Final = 0.95

Row = dict[str, Any]


def worst(row: Row) -> float | None:
    """Return the largest difference to torch of any level and form; None where none was compared."""
    forms = [row.get("graph_difference") or [], *(row.get("variants") or {}).values()]
    numbers = [number for form in forms for number in form]
    return max(numbers) if numbers else None


def beyond(row: Row) -> bool:
    """Tell whether any level of any form differs from torch by more than the contract allows at that level."""
    forms = [row.get("graph_difference") or [], *(row.get("variants") or {}).values()]
    allowed = row.get("allowed")
    return any(
        number > (_ALLOWED if allowed is None else allowed[level])
        for form in forms
        for level, number in enumerate(form)
    )


def claims(rows: Sequence[Row]) -> list[Row]:
    """Return what the zoo has to show, with what it showed."""
    whole = [row for row in rows if row["reached"] == "all"]
    crashed = [row for row in rows if "crash" in row]
    nested = [row["nested_multiply_adds"] for row in whole if row.get("nested_multiply_adds") is not None]
    wrong = [row for row in rows if beyond(row)]
    few = sum(share < _LEAST_NESTED for share in nested)
    unexplained = sum(_why_few(row) is not None and not row.get("stays_dense") for row in whole)
    return [
        asdict(claim)
        for claim in (
            at_least("networks tried", 60, len(rows)),
            at_most("networks that neither arrive nor are refused in words", 0, len(crashed)),
            at_most(
                "networks of which a level differs from torch by more than the contract allows (or 1e-3)",
                0,
                len(wrong),
            ),
            at_most("networks that arrive with less than 95 % of the multiply-adds nested", 0, few),
            at_most("of these: without a reason", 0, unexplained),
        )
    ]


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table, one line a network."""
    lines = [
        (
            "| network | parameters, M | nested: parameters, multiply-adds (depthwise, dense) | batch "
            "| worst difference to torch | speed over dense at 95, 80, 0 % (dense, ms) "
            "| seconds: sparsify, export, build | peak, MB | code |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in rows]
    whole = sum(row["reached"] == "all" for row in rows)
    refused = [row for row in rows if "refusal" in row]
    lines += ["", f"{len(rows)} networks: {whole} go the whole way, {len(refused)} are refused."]
    lines += [f"- {row['network']}, at {row['reached']}: {row['refusal']}" for row in refused]
    lines += [
        f"- {row['network']}: float32 computes it badly itself; the contract allows {max(row['allowed']):.0e} here."
        for row in rows
        if "allowed" in row and (worst(row) or 0.0) > 1e-4
    ]
    lines += [f"- {row['network']}: {reason}" for row in rows if (reason := _why_few(row)) is not None]
    return "\n".join(lines)


def _why_few(row: Row) -> str | None:
    """Return why less than 95 % of a network's multiply-adds are nested, where that is so."""
    work = row.get("nested_multiply_adds")
    if row["reached"] != "all" or work is None or work >= _LEAST_NESTED:
        return None
    if "stays_dense" not in row:
        return f"{work:.1%} of the multiply-adds are nested; its run did not record which weights stay dense."
    dense = "; ".join(f"{entry['name']}: {entry['reason']}" for entry in row["stays_dense"])
    between = row.get("activation_multiply_adds") or 0.0
    attention = (
        f" {between:.1%} are of activations with each other, which have no weights." if between else ""
    )
    return f"{work:.1%} of the multiply-adds are nested.{attention} {dense or 'No weight above 1 % stays dense'}."


def _line(row: Row) -> str:
    if row["reached"] != "all":
        kind = "refused" if "refusal" in row else "failed"
        return f"| {row['network']} | | | | {kind} at {row['reached']} | | | | {_code(row)} |"
    work, depthwise = row["nested_multiply_adds"], row.get("depthwise_multiply_adds")
    apart = f" ({depthwise:.1%})" if depthwise else ""
    speed = row["speed"]
    times = (
        "-"
        if speed is None
        else f"{', '.join(f'{x:.2f}' for x in speed['speedup'])} ({speed['dense_ms']:.2f})"
    )
    seconds = ", ".join(f"{row[step]:.0f}" for step in ("sparsify_s", "export_s", "build_s"))
    return (
        f"| {row['network']} | {row['parameters'] / 1e6:.2f} "
        f"| {row['nested_parameters']:.1%}, {'-' if work is None else f'{work:.1%}'}{apart} | {row['batch']} "
        f"| {worst(row):.0e} | {times} "
        f"| {seconds} | {row['build_peak_mb']} | {_code(row)} |"
    )


def _code(row: Row) -> str:
    """Return the commit that a row was measured on; rows of before it was noted are `older`, but for their share."""
    measured = row.get("measured")
    if measured is None:
        return "older" + (f", share {row['share_measured']['commit']}" if "share_measured" in row else "")
    how = [word for word in ("quick", "static") if measured.get(word)]
    return " ".join([measured["commit"], *how])
