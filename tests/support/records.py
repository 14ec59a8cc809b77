"""A record of a made-up network on a made-up device, for the tests of reports."""

from __future__ import annotations

from typing import Any

from elsa_edge.report.record import Check, LayerFact, LayerTime, LevelFact, Record, Row, Run, Window

__all__ = ["LEVELS", "record", "row"]

LEVELS = (
    LevelFact(
        name="s95", sparsity=0.95, density=0.05, flops_fraction=0.1, accuracy=0.8, accuracy_samples=400
    ),
    LevelFact(
        name="s90", sparsity=0.9, density=0.1, flops_fraction=0.15, accuracy=0.88, accuracy_samples=400
    ),
    LevelFact(
        name="dense", sparsity=0.0, density=1.0, flops_fraction=1.0, accuracy=0.9, accuracy_samples=400
    ),
)


def row(variant: str, level: int, p50_ms: float | None = None, **more: Any) -> Row:
    """Return a row; its p95 is a quarter above its p50."""
    figures: dict[str, Any] = {}
    if p50_ms is not None:
        factors = {"p50_ms": 1.0, "p90_ms": 1.2, "p95_ms": 1.25, "p99_ms": 1.5}
        figures = {name: p50_ms * factor for name, factor in factors.items()} | {"runs": 40}
    precision = "int8" if "int8" in variant else "float32"
    return Row(variant=variant, runtime="onnxruntime", precision=precision, level=level, **(figures | more))


def record(**changes: Any) -> Record:
    """Return a full record: two variants, three levels, everything measured."""
    rows = [row("ort-nested", k, ms, memory_bytes=(k + 4) * 10**6) for k, ms in enumerate((2.0, 3.0, 8.0))]
    rows += [row("ort-switch", k, ms, memory_bytes=9 * 10**6) for k, ms in enumerate((9.0, 9.0, 9.0))]
    rows += [row("ort-nested-int8", k, ms, memory_bytes=3 * 10**6) for k, ms in enumerate((2.4, 3.1, 7.0))]
    made = Record(
        name="net",
        device="board",
        bundle="ab" * 32,
        made_utc="2026-01-01T00:00:00+00:00",
        budget_ms=12.0,
        levels=LEVELS,
        rows=tuple(rows),
        layers=(LayerFact(name="conv.weight", shape=(8, 4, 3, 3), densities=(0.05, 0.1, 1.0)),),
        layer_times=(
            LayerTime(
                variant="ort-nested", name="conv.weight", kind="NestedConv, Conv", level_ms=(0.5, 0.9, 4.0)
            ),
            LayerTime(variant="ort-nested", name="mean", kind="ReduceMean", level_ms=(0.25, 0.25, None)),
            LayerTime(variant="ort-nested", name="gather", kind="Gather", level_ms=(0.001, 0.001, 0.002)),
        ),
        checks=(
            Check(variant="ort-nested", level=0, max_difference=1e-6, allowed=1e-4, agreement=1.0, ok=True),
        ),
        sustained_variant="ort-nested",
        sustained_level=2,
        sustained=tuple(Window(until_s=10.0 * k, p50_ms=8 + k, p95_ms=9 + k, runs=5) for k in range(1, 6)),
        runs=tuple(
            Run(at_ms=10.0 * k, level=k % 3, latency_ms=5.0 + k % 3, reason="hold") for k in range(1, 30)
        ),
        conditions={"cpu": "a chip", "threads": 1},
    )
    return made.model_copy(update=changes)
