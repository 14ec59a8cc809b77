"""Nested levels in 8 bits against the dense 8-bit network and the dense float32 one: `python -m benchmarks.int8`.

    ratio = median over rounds of (time of the rival / time of the level), all in turns in one process, one thread

Weights are random: they say nothing about accuracy. The stem and depthwise weights stay dense, as in `latency`.

    ELSA_INT8_NETS=resnet18,mlp      measures parts; rows of other networks stay, if they are of the same processor
"""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from benchmarks.common import RESULTS, Claim, Result, Row, at_least, benchmark, context
from benchmarks.latency.files import Subject
from benchmarks.latency.timing import Run, here, row_of, take_turns
from benchmarks.sessions import INPUT, profile_for
from elsa_edge.bundle.golden import Golden
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.files import write_bytes
from elsa_edge.graph.names import LEVEL_INPUT

__all__ = ["main"]

_LADDER: Final = (0.95, 0.9, 0.8, 0.0)
_NETS: Final = ("resnet18", "mobilenet_v2", "mlp", "transformer")
_GRANULARITIES: Final = ("1x4", "4x4")
_SAMPLES: Final = 16
_TURNS_S: Final = 20.0
_QUICK_S: Final = 1.0
_FLOAT, _INT8, _OURS = "float32", "ort-int8", "nested-int8"
# Network -> granularity -> sparsity -> ratio to ONNX Runtime's dense int8 to reach, on AVX-512 VNNI.
_TARGETS: Final = {
    "resnet18": {"1x4": {0.8: 1.3, 0.9: 1.9, 0.95: 2.4}, "4x4": {0.9: 2.6}},
    "mobilenet_v2": {"1x4": {0.8: 1.15, 0.9: 1.35, 0.95: 1.5}, "4x4": {0.9: 1.6}},
    "mlp": {"1x4": {0.8: 1.3, 0.9: 2.0, 0.95: 3.0}, "4x4": {0.9: 3.0}},
    "transformer": {"1x4": {0.8: 1.0, 0.9: 1.4, 0.95: 1.8}, "4x4": {0.9: 1.8}},
}


def _runs(subject: Subject, folder: Path) -> Iterator[tuple[str, float, Run]]:
    """Yield (engine, sparsity, what runs it): every level with our kernels, and the two dense rivals."""
    random = np.random.default_rng(1)
    samples = {INPUT: random.standard_normal((_SAMPLES, *subject.inputs[INPUT].shape[1:])).astype(np.float32)}
    profile = profile_for(_OURS)
    # Random weights change their mind easily; here only speed is asked for.
    free = profile.tflite.model_copy(update={"int8_changed_answers": 1.0})
    profile = profile.model_copy(update={"tflite": free})
    NestedInt8Exporter("nested").export(subject.graph, profile, Golden(samples, ()), folder)
    rival = folder / "rival.onnx"
    write_bytes(
        rival, ir.to_proto(dense8(subject.graph, subject.dense, samples, profile)).SerializeToString()
    )
    for name, session in ((_FLOAT, open_session(subject.fixed(subject.dense))), (_INT8, open_session(rival))):
        yield name, 0.0, here(partial(session.run, None, subject.inputs))
    ours = open_session(folder / "model.onnx")
    for level, sparsity in enumerate(_LADDER):
        feed = {**subject.inputs, LEVEL_INPUT: np.array(level, np.int64)}
        yield _OURS, sparsity, here(partial(ours.run, None, feed))


def _measure(network: str, granularity: str, turns_s: float) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary:
        inside = Path(temporary, "ours")
        inside.mkdir()
        subject = Subject(network, granularity, Path(temporary), _LADDER)
        engines = list(_runs(subject, inside))
        samples = take_turns({f"{name}@{s}": run for name, s, run in engines}, budget_s=turns_s)
    rows: list[Row] = []
    for name, sparsity, _ in engines:
        times = samples[f"{name}@{sparsity}"]
        over_int8 = row_of(times, samples[f"{_INT8}@0.0"], 1)
        over_float = row_of(times, samples[f"{_FLOAT}@0.0"], 1)
        row: Row = {"network": network, "granularity": granularity, "engine": name, "sparsity": sparsity}
        row |= {"median_ms": over_int8["median_ms"], "rounds": over_int8["rounds"]}
        for rival, found in (("int8", over_int8), ("float32", over_float)):
            row |= {f"over_{rival}{end}": found[f"speedup{end}"] for end in ("", "_low", "_high")}
        rows.append(row | {"date_utc": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "cpu": _cpu()})
    return rows


def _cpu() -> str:
    return str(context()["cpu"])


def _claims(rows: list[Row]) -> list[Claim]:
    return [
        at_least(
            f"{row['network']}, {row['granularity']}, {row['sparsity']:.0%}: over ONNX Runtime's dense int8",
            target,
            row["over_int8"],
        )
        for row in rows
        if row["engine"] == _OURS
        and (target := _TARGETS.get(row["network"], {}).get(row["granularity"], {}).get(row["sparsity"]))
    ]


def _old_rows(measured: set[tuple[Any, Any]]) -> list[Row]:
    """Return rows of an earlier run that were not measured again, of this processor only: one context tells it."""
    path = RESULTS / "int8.json"
    if not path.is_file():
        return []
    old: list[Row] = json.loads(path.read_text())["rows"]
    return [
        row for row in old if row["cpu"] == _cpu() and (row["network"], row["granularity"]) not in measured
    ]


@benchmark("int8")
def main(quick: bool) -> Result:
    """Nested levels in 8 bits against ONNX Runtime's dense int8 and dense float32."""
    named = os.environ.get("ELSA_INT8_NETS")
    nets = tuple(named.split(",")) if named else _NETS[2:3] if quick else _NETS
    patterns = _GRANULARITIES[:1] if quick else _GRANULARITIES
    rows = [
        row
        for network in nets
        for granularity in patterns
        for row in _measure(network, granularity, _QUICK_S if quick else _TURNS_S)
    ]
    if not quick:
        rows = _old_rows({(row["network"], row["granularity"]) for row in rows}) + rows
    return Result(rows=rows, claims=_claims(rows))


if __name__ == "__main__":
    main()
