"""Nested levels in 8 bits against the dense 8-bit network and the dense float32 one: `python -m benchmarks.int8`.

    ratio = median over rounds of (time of the rival / time of the level), all in turns in one process, one thread

Besides, for each network: what changing the level at every inference costs, bytes of the file, anonymous memory.
Weights are random: they say nothing about accuracy. The stem and depthwise weights stay dense, as in `latency`.

    --network resnet18 --block 4x4     measures a part; other rows stay, if they are of the same processor
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx_ir as ir

from benchmarks.common import (
    Claim,
    Result,
    Row,
    at_least,
    at_most,
    benchmark,
    in_subprocess,
    parts_option,
)
from benchmarks.common.sessions import INPUT, open_variant, profile_for
from benchmarks.int8.kept import cpu, rows_kept
from benchmarks.latency.files import Subject
from benchmarks.latency.timing import Run, Samples, here, row_of, take_turns
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import ExportError, first_line
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.files import write_bytes

__all__ = ["export", "main"]

# In blocks of 4x4, 95 % leaves narrow layers of a random MobileNetV2 without one path from input to output.
_LADDERS: Final = {"1x4": (0.95, 0.9, 0.8, 0.0), "4x4": (0.9, 0.8, 0.0)}
_NETS: Final = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0", "mlp", "transformer", "signal")
_SAMPLES: Final = 16
_TURNS_S: Final = 20.0
_QUICK_S: Final = 1.0
_FLOAT, _INT8, _OURS = "float32", "ort-int8", "nested-int8"
_SWITCHING: Final = "another level each time"
# What no level may fall below, against dense int8; and bytes and memory against dense float32.
_NEVER_BELOW, _LADDER_BYTES, _FIRST_BYTES, _MEMORY, _SWITCH = 0.97, 0.30, 0.03, 0.5, 1.02
# Network -> granularity -> sparsity -> ratio to ONNX Runtime's dense int8 to reach, on AVX-512 VNNI.
_TARGETS: Final = {
    "resnet18": {"1x4": {0.8: 1.3, 0.9: 1.9, 0.95: 2.4}, "4x4": {0.9: 2.6}},
    "resnet50": {"1x4": {0.8: 1.2, 0.9: 1.6, 0.95: 2.0}, "4x4": {0.9: 2.1}},
    "mobilenet_v2": {"1x4": {0.8: 1.15, 0.9: 1.35, 0.95: 1.5}, "4x4": {0.9: 1.6}},
    "efficientnet_lite0": {"1x4": {0.8: 1.15, 0.9: 1.35, 0.95: 1.5}, "4x4": {0.9: 1.6}},
    "mlp": {"1x4": {0.8: 1.3, 0.9: 2.0, 0.95: 3.0}, "4x4": {0.9: 3.0}},
    "transformer": {"1x4": {0.8: 1.0, 0.9: 1.4, 0.95: 1.8}, "4x4": {0.9: 1.8}},
}


def export(
    subject: Subject, folder: Path, choose: Literal["auto", "nested"] = "auto"
) -> tuple[Variant, str | None]:
    """Write `nested-int8` as a build does, and the dense rival beside it; return why a build would leave it out.

    What would be left out is measured all the same, with nested kernels at every level. Random weights change their
    mind easily: here only speed is asked for.
    """
    random = np.random.default_rng(1)
    samples = {INPUT: random.standard_normal((_SAMPLES, *subject.inputs[INPUT].shape[1:])).astype(np.float32)}
    profile = profile_for(_OURS)
    golden, refused = Golden(samples, ()), None
    try:
        variant = NestedInt8Exporter(choose, strict=False).export(subject.graph, profile, golden, folder)
    except ExportError as error:
        refused = first_line(error)
        variant = NestedInt8Exporter("nested", strict=False).export(subject.graph, profile, golden, folder)
    dense = dense8(subject.graph, subject.dense, samples, profile)
    write_bytes(folder / "rival.onnx", ir.to_proto(dense).SerializeToString())
    return variant, refused


def _runs(subject: Subject, folder: Path, variant: Variant) -> Iterator[tuple[str, float, Run]]:
    """Yield (engine, sparsity, what runs it): the two dense rivals, every level of ours, and all levels in turn."""
    rivals = ((_FLOAT, subject.fixed(subject.dense)), (_INT8, folder / "rival.onnx"))
    for name, file in rivals:
        yield name, 0.0, here(partial(open_session(file).run, None, subject.inputs))
    ours = open_variant(folder, variant, profile_for(_OURS).runtime)
    for level, sparsity in enumerate(subject.ladder):
        yield _OURS, sparsity, here(partial(ours.run, subject.inputs, level))

    def every_level() -> None:
        for level in range(len(subject.ladder)):
            ours.run(subject.inputs, level)

    yield _SWITCHING, 0.0, here(every_level)


def _measure(network: str, granularity: str, turns_s: float) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary:
        inside = Path(temporary, "ours")
        inside.mkdir()
        ladder = _LADDERS[granularity]
        subject = Subject(network, granularity, Path(temporary), ladder)
        variant, refused = export(subject, inside)
        samples = take_turns(
            {f"{name}@{s}": run for name, s, run in _runs(subject, inside, variant)}, budget_s=turns_s
        )
        sizes = _sizes(subject, inside, variant)
    common: Row = {"network": network, "granularity": granularity}
    dated: Row = {"date_utc": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "cpu": cpu()}
    rows: list[Row] = []
    for name, sparsity in ((_FLOAT, 0.0), (_INT8, 0.0), *((_OURS, s) for s in ladder)):
        times = samples[f"{name}@{sparsity}"]
        over_int8 = row_of(times, samples[f"{_INT8}@0.0"], 1)
        over_float = row_of(times, samples[f"{_FLOAT}@0.0"], 1)
        row: Row = {**common, "engine": name, "sparsity": sparsity}
        row |= {"median_ms": over_int8["median_ms"], "rounds": over_int8["rounds"]}
        row["kernels"] = "dense" if name != _OURS else variant.notes["kernels"][ladder.index(sparsity)]
        for rival, found in (("int8", over_int8), ("float32", over_float)):
            row |= {f"over_{rival}{end}": found[f"speedup{end}"] for end in ("", "_low", "_high")}
        row["base_spread"] = over_int8["base_spread"]
        rows.append(row | dated)
    told = {"over_staying": _switching(samples, ladder), "left_out": refused}
    rows.append({**common, "engine": _SWITCHING, **told, **sizes, **dated})
    return rows


def _switching(samples: dict[str, Samples], ladder: tuple[float, ...]) -> float:
    """Return the time of inferences that change the level each time over those that stay."""
    staying = sum(samples[f"{_OURS}@{sparsity}"].cpu_s for sparsity in ladder)
    return round(float(np.median(samples[f"{_SWITCHING}@0.0"].cpu_s / staying)), 4)


def _sizes(subject: Subject, folder: Path, variant: Variant) -> Row:
    """Return bytes of weights and anonymous memory, over those of the dense float32 network.

    Level k holds what the levels below it have, so 95, 90 and 0 % together are the level of 90 % and the last.
    """
    dense = subject.fixed(subject.dense)
    write_bytes(folder / "variant.json", variant.model_dump_json().encode())
    arguments = (str(folder), str(subject.input_path))
    memory = in_subprocess("benchmarks.int8.memory:anonymous", *arguments)
    plain = in_subprocess("benchmarks.latency.memory:dense_bytes", str(dense), str(subject.input_path))
    file_bytes = dense.stat().st_size
    ninety, last = variant.level_bytes[subject.ladder.index(0.9)], variant.level_bytes[-1]
    return {
        "first_level_bytes": round(variant.level_bytes[0] / file_bytes, 4),
        "ladder_bytes": round((ninety + last) / file_bytes, 4),
        "anonymous": round(memory["sparse_levels"] / plain, 4),
        "anonymous_all_levels": round(memory["all_levels"] / plain, 4),
        "dense_float32_file_bytes": file_bytes,
        "dense_float32_anonymous_bytes": plain,
    }


def _claims(rows: list[Row]) -> list[Claim]:
    claims: list[Claim] = []
    left_out = {(r["network"], r["granularity"]) for r in rows if r["engine"] == _SWITCHING and r["left_out"]}
    for row in rows:
        about = f"{row['network']}, {row['granularity']}"
        if row["engine"] == _OURS:
            target = _TARGETS.get(row["network"], {}).get(row["granularity"], {}).get(row["sparsity"])
            level = f"{about}, {row['sparsity']:.0%}: over ONNX Runtime's dense int8"
            # What is not built is at no level of a bundle.
            if target or (row["network"], row["granularity"]) not in left_out:
                claims.append(at_least(level, target or _NEVER_BELOW, row["over_int8"]))
        elif row["engine"] == _SWITCHING:
            limits = (
                ("over_staying", _SWITCH),
                ("ladder_bytes", _LADDER_BYTES),
                ("first_level_bytes", _FIRST_BYTES),
                ("anonymous", _MEMORY),
            )
            claims += [at_most(f"{about}: {name}", limit, row[name]) for name, limit in limits]
    return claims


@benchmark("int8", parts_option("network", _NETS), parts_option("block", tuple(_LADDERS)))
def main(quick: bool, networks: tuple[str, ...], blocks: tuple[str, ...]) -> Result:
    """Nested levels in 8 bits against ONNX Runtime's dense int8 and dense float32."""
    nets = networks or (("mlp",) if quick else _NETS)
    patterns = blocks or tuple(_LADDERS)[: 1 if quick else None]
    rows = [
        row
        for network in nets
        for granularity in patterns
        for row in _measure(network, granularity, _QUICK_S if quick else _TURNS_S)
    ]
    if not quick:
        rows = rows_kept("int8", ("network", "granularity"), rows) + rows
    return Result(rows=rows, claims=_claims(rows))


if __name__ == "__main__":
    main()
