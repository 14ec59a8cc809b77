"""8-bit levels of library networks against ONNX Runtime's dense 8 bits: `python -m benchmarks.zoo.int8`.

    ratio = median over rounds of (time of the dense 8-bit network / time of the level), in turns, one thread

Cut in 4x4 blocks at 90 and 80 % of each layer, weights with heavy tails. Each network is what a build makes of it; if
that leaves `nested-int8` out, the bundle has ONNX Runtime's dense kernels at every level, and its ratio is 1.

    --network tv_resnet18      measures parts; other rows stay, if they are of the same processor
"""

from __future__ import annotations

import datetime as dt
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from benchmarks.common import Claim, Result, Row, at_least, benchmark, parts_option
from benchmarks.common.sessions import profile_for
from benchmarks.int8.kept import cpu, rows_kept
from benchmarks.latency.timing import here, row_of, take_turns
from benchmarks.zoo import run_worker
from elsa_edge.bundle.golden import Golden
from elsa_edge.errors import ElsaError, ExportError, first_line
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.files import write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import LEVEL_INPUT

__all__ = ["CONVOLUTIONAL", "claims", "main"]

CONVOLUTIONAL: Final = (
    "tv_squeezenet1_1", "timm_resnet10t", "tv_mobilenet_v2", "timm_lcnet_050", "tv_shufflenet_v2_x1_0",
    "timm_mnasnet_small", "tv_regnet_x_400mf", "timm_dla46_c", "timm_mobileone_s0", "tv_mobilenet_v3_small",
    "timm_efficientnet_lite0", "tv_resnet18", "timm_mobilenetv4_conv_small", "tv_mnasnet0_5", "timm_tinynet_e",
    "timm_semnasnet_075", "timm_ghostnet_100", "timm_repvit_m0_9", "tv_regnet_y_400mf", "timm_hardcorenas_a",
    "tv_efficientnet_b0", "tv_mobilenet_v3_large", "tv_googlenet", "tv_lraspp", "tv_alexnet", "tv_densenet121",
    "tv_resnet50", "tv_deeplabv3", "tv_inception_v3", "smp_unet",
)  # fmt: skip
_LEVELS: Final = (0.9, 0.8, 0.0)
_SAMPLES: Final = 16
_TURNS_S, _QUICK_S = 6.0, 0.5
_TRACING_S: Final = 600
_MEDIAN, _NEVER_BELOW = 1.8, 0.97


@benchmark("int8-zoo", parts_option("network", CONVOLUTIONAL))
def main(quick: bool, networks: tuple[str, ...]) -> Result:
    """8-bit levels of library networks against ONNX Runtime's dense 8 bits."""
    names = networks or CONVOLUTIONAL[: 1 if quick else None]
    rows = [_row(name, _QUICK_S if quick else _TURNS_S) for name in names]
    if not quick:
        rows = rows_kept("int8-zoo", ("network",), rows) + rows
    return Result(rows, claims(rows))


def claims(rows: list[Row]) -> list[Claim]:
    """Return the median at 90 %, and the least ratio of every network: levels that are built, of those that went."""
    found = [row for row in rows if row["over_int8"] is not None]
    if not found:
        return []
    median = float(np.median([row["over_int8"][0] for row in found]))
    return [
        at_least(f"median over {len(found)} networks at 90 %, 4x4: over dense int8", _MEDIAN, median),
        *(at_least(f"{row['network']}: any level", _NEVER_BELOW, min(row["over_int8"])) for row in found),
    ]


def _row(name: str, turns_s: float) -> Row:
    row: Row = {"network": name, "over_int8": None, "note": ""}
    with tempfile.TemporaryDirectory(prefix="elsa-zoo-") as temporary:
        try:
            row |= _measured(_traced(name, Path(temporary)), Path(temporary), turns_s)
        except (ElsaError, FileNotFoundError, RuntimeError, subprocess.SubprocessError) as error:
            row["note"] = first_line(error)
    return row | {"date_utc": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "cpu": cpu()}


def _traced(name: str, folder: Path) -> CanonicalGraph:
    """Return the canonical graph of a network, which the zoo's own environment makes."""
    file = folder / f"{name}.onnx"
    ladder = ",".join(map(str, _LEVELS))
    done = run_worker([f"--graph={folder}", f"--levels={ladder}", name], _TRACING_S)
    if done.returncode or not file.is_file():
        raise RuntimeError(f"not traced: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return CanonicalGraph.load(file)


def _measured(graph: CanonicalGraph, folder: Path, turns_s: float) -> Row:
    random = np.random.default_rng(1)
    (x,) = graph.inputs.values()
    samples = {x.name: random.standard_normal((_SAMPLES, *(s or 1 for s in x.shape[1:]))).astype(np.float32)}
    one = {x.name: samples[x.name][:1]}
    profile, ours = profile_for("nested-int8"), folder / "ours"
    ours.mkdir()
    last = len(graph.ladder) - 1
    write_bytes(folder / "rival.onnx", ir.to_proto(dense8(graph, last, samples, profile)).SerializeToString())
    try:
        # Random weights change their mind easily: here only speed is asked for.
        variant = NestedInt8Exporter(strict=False).export(graph, profile, Golden(samples, ()), ours)
    except ExportError as error:  # not worth building: see `choose`
        return {"over_int8": [1.0] * len(graph.ladder), "note": f"ort-int8 alone: {first_line(error)}"}
    session = open_session(ours / "model.onnx")
    feeds = {f"{k}": {**one, LEVEL_INPUT: np.array(k, np.int64)} for k in range(len(graph.ladder))}
    runs = {"int8": here(partial(open_session(folder / "rival.onnx").run, None, one))}
    runs |= {k: here(partial(session.run, None, feed)) for k, feed in feeds.items()}
    times = take_turns(runs, budget_s=turns_s)
    told: list[dict[str, Any]] = [row_of(times[k], times["int8"], 1) for k in feeds]
    return {
        "over_int8": [one["speedup"] for one in told],
        "int8_ms": row_of(times["int8"], times["int8"], 1)["median_ms"],
        "kernels": variant.notes["kernels"],
        "rounds": told[0]["rounds"],
    }


if __name__ == "__main__":
    main()
