"""Latency of nested sparse kernels against dense and sparse engines: `python -m benchmarks.latency [--quick]`.

Every level of a network's `ort-nested` file takes turns with ONNX Runtime's dense network (all optimisations), its
int8 form, LiteRT/XNNPACK, and with OpenVINO and DeepSparse in processes of their own where `python -m benchmarks.peers
install` has made their environments; those that are absent have a row that says so.

    ELSA_LATENCY_NETS=resnet18,mlp                      restricts the networks
    ELSA_LATENCY_GRANULARITIES=unstructured,block       restricts the patterns (also "memory": with three levels)

Results are written after every network, and what was not measured again is kept, each with its date and commit: a run
may be interrupted, or made in parts.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.common import RESULTS, Result, Row, benchmark, context, report_text
from benchmarks.latency.calls import call_claims, call_rows
from benchmarks.latency.claims import claims_of, layer_claims
from benchmarks.latency.layers import layer_rows
from benchmarks.latency.measure import measure, measure_memory, plan_of
from benchmarks.latency.nets import LATENCY_NETS
from benchmarks.latency.report import merge, read_rows, write_csv, write_plot
from elsa_edge.errors import ElsaError, InputError
from elsa_edge.files import write_bytes

_MEMORY: Final = "memory"
_PATTERNS: Final = ("unstructured", "block", "channel", _MEMORY)
_SOME_NETS: Final = ("resnet18", "mobilenet_v2", "mlp")  # with channels, and with memory of few levels


def _chosen(variable: str, allowed: tuple[str, ...], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in an environment variable.

    Raises:
        InputError: When a name is not known.
    """
    named = os.environ.get(variable)
    if not named:
        return otherwise
    names = tuple(named.split(","))
    for name in names:
        if name not in allowed:
            raise InputError(f"{variable} names something unknown", expected=", ".join(allowed), found=name)
    return names


def _jobs(quick: bool) -> list[tuple[str, str]]:
    """Return (network, pattern) in the order of measuring."""
    nets = _chosen("ELSA_LATENCY_NETS", tuple(LATENCY_NETS), ("mlp",) if quick else tuple(LATENCY_NETS))
    patterns = _chosen("ELSA_LATENCY_GRANULARITIES", _PATTERNS, _PATTERNS[:1] if quick else ())
    if patterns:
        return [(net, pattern) for net in nets for pattern in patterns]
    return [(net, p) for net in nets for p in _PATTERNS if p in _PATTERNS[:2] or net in _SOME_NETS]


def _result(rows: list[Row]) -> Result:
    layers = [row for row in rows if "layer" in row]
    claims = claims_of([row for row in rows if "network" in row])
    calls = call_claims([row for row in rows if "operator" in row])
    return Result(rows=rows, claims=[*claims, *(layer_claims(layers) if layers else []), *calls])


@benchmark("latency")
def main(quick: bool) -> Result:
    """Latency of every level against dense, quantised and sparse engines, switching, memory, layers and calls."""
    jobs = _jobs(quick)
    report = RESULTS / "latency.json"
    rows = [] if quick else read_rows(report)
    rows = merge(rows, [*layer_rows(7 if quick else 31), *call_rows()])
    for network, pattern in jobs:
        with tempfile.TemporaryDirectory(prefix="elsa-edge-") as folder:
            try:
                if pattern == _MEMORY:
                    found = measure_memory(network, Path(folder))
                else:
                    found = measure(network, pattern, plan_of(network, pattern, quick=quick), Path(folder))
            except ElsaError as error:
                found = [{"network": network, "granularity": pattern, "engine": "failed", "note": str(error)}]
        rows = merge(rows, found)
        if not quick:
            text = report_text("latency", _result(rows), context() | {"quick": False})
            write_bytes(report, text.encode())
            write_csv(rows, RESULTS / "latency.csv")
    if not quick:
        write_plot(rows, RESULTS / "latency.png")
    return _result(rows)


if __name__ == "__main__":
    main()
