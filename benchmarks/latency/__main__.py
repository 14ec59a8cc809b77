"""Latency of nested sparse kernels against dense and sparse engines: `python -m benchmarks.latency [--quick]`.

Every level of a network's `ort-nested` file takes turns with ONNX Runtime's dense network (all optimisations), its
int8 form, LiteRT/XNNPACK, and with OpenVINO and DeepSparse in processes of their own where `python -m benchmarks.peers
install` has made their environments; those that are absent have a row that says so.

    --only resnet18 --only mlp          restricts the networks
    --pattern unstructured              restricts the patterns of zeros (also "memory": with three levels)

Results are written after every network, and what was not measured again is kept, each with its date and commit: a run
may be interrupted, or made in parts. Rows of another machine are never kept beside new ones.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final

import click

from benchmarks.common import RESULTS, Result, Row, benchmark, context, report_text, same_machine
from benchmarks.latency.calls import call_claims, call_rows
from benchmarks.latency.claims import claims_of, layer_claims
from benchmarks.latency.layers import layer_rows
from benchmarks.latency.measure import measure, measure_memory, plan_of
from benchmarks.latency.report import merge, read_rows, write_csv, write_plot
from benchmarks.networks import FEW
from elsa_edge.errors import ElsaError, InputError
from elsa_edge.files import write_bytes

NETWORKS: Final = (*FEW, "resnet50", "mobilenet_v1", "transformer", "lstm", "gru", "signal")
_MEMORY: Final = "memory"
_PATTERNS: Final = ("unstructured", "block", "channel", _MEMORY)
_SOME_NETS: Final = ("resnet18", "mobilenet_v2", "mlp")  # with channels, and with memory of few levels


def _jobs(quick: bool, only: tuple[str, ...], pattern: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return (network, pattern) in the order of measuring."""
    nets = only or (("mlp",) if quick else NETWORKS)
    patterns = pattern or (_PATTERNS[:1] if quick else ())
    if patterns:
        return [(net, name) for net in nets for name in patterns]
    return [(net, name) for net in nets for name in _PATTERNS if name in _PATTERNS[:2] or net in _SOME_NETS]


def kept_rows(path: Path, here: Row, *, part: bool) -> list[Row]:
    """Return the rows of a result file that new ones may stand beside.

    Args:
        path: The file; there may be none.
        here: Context of this run.
        part: Whether this run measures a part only, so that the rest would have to be kept.

    Raises:
        InputError: When the rest is of another machine.
    """
    if not path.is_file():
        return []
    before = json.loads(path.read_text())["context"]
    if same_machine(here, before):
        return read_rows(path)
    if part:
        raise InputError(
            f"{path} holds rows of another machine, which are never mixed",
            expected=str(here["cpu"]),
            found=str(before.get("cpu")),
            fix="Measure everything (without --only and --pattern), or move the file away",
        )
    return []


def _result(rows: list[Row]) -> Result:
    layers = [row for row in rows if "layer" in row]
    claims = claims_of([row for row in rows if "network" in row])
    calls = call_claims([row for row in rows if "operator" in row])
    return Result(rows=rows, claims=[*claims, *(layer_claims(layers) if layers else []), *calls])


@benchmark(
    "latency",
    click.option("--only", multiple=True, type=click.Choice(NETWORKS), help="Only this network; repeatable."),
    click.option(
        "--pattern", multiple=True, type=click.Choice(_PATTERNS), help="Only this pattern; repeatable."
    ),
)
def main(quick: bool, only: tuple[str, ...], pattern: tuple[str, ...]) -> Result:
    """Latency of every level against dense, quantised and sparse engines, switching, memory, layers and calls."""
    jobs = _jobs(quick, only, pattern)
    report = RESULTS / "latency.json"
    rows = [] if quick else kept_rows(report, context(), part=bool(only or pattern))
    rows = merge(rows, [*layer_rows(7 if quick else 31), *call_rows()])
    for network, zeros in jobs:
        with tempfile.TemporaryDirectory(prefix="elsa-edge-") as folder:
            try:
                if zeros == _MEMORY:
                    found = measure_memory(network, Path(folder))
                else:
                    found = measure(network, zeros, plan_of(network, zeros, quick=quick), Path(folder))
            except ElsaError as error:
                found = [{"network": network, "granularity": zeros, "engine": "failed", "note": str(error)}]
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
