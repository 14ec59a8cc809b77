"""A level of 90 % in 8 bits against what others make of the dense network: `python -m benchmarks.int8.rivals`.

    ratio = median over rounds of (time of the rival / time of nested-int8 at 90 %), one thread, all in turns

OpenVINO reads the same quantised file as ONNX Runtime; LiteRT's is quantised by this project's exporter, on the same
input. OpenVINO and ncnn run in processes of their own (`python -m benchmarks.peers install openvino`, `ncnn`); one that
is absent has a row that says so. ncnn's wheel carries no tools that quantise, so it runs in float32.

    --network resnet18      measures parts
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.common import Claim, Result, Row, at_least, benchmark, parts_option
from benchmarks.int8.__main__ import export
from benchmarks.latency.engines import open_litert
from benchmarks.latency.files import Subject
from benchmarks.latency.timing import Run, here, row_of, take_turns
from benchmarks.peers import Peer, PeerError
from elsa_edge.errors import ElsaError, first_line
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.graph.names import LEVEL_INPUT

__all__ = ["main"]

_LADDER: Final = (0.9, 0.0)
_NETS: Final = ("resnet18", "mobilenet_v2", "mlp")
_OURS: Final = "nested-int8 at 90 %"
_TURNS_S: Final = 15.0
# AMX, where a processor has it, is another kind of machine: with and without it are two rows.
_NO_AMX: Final = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}


def _engines(subject: Subject, folder: Path, stack: ExitStack) -> Iterator[tuple[str, Run | str]]:
    """Yield each engine with what runs it, or with why it cannot be measured."""
    session = open_session(folder / "model.onnx")
    feed = {**subject.inputs, LEVEL_INPUT: np.array(0, np.int64)}
    yield _OURS, here(partial(session.run, None, feed))
    plain = subject.fixed(subject.dense)
    for name, file in (("ort-float32", plain), ("ort-int8", folder / "rival.onnx")):
        yield name, here(partial(open_session(file).run, None, subject.inputs))
    try:
        run, _ = open_litert(subject.litert(subject.dense, "int8"), next(iter(subject.inputs.values())))
        yield "litert-int8", run
    except (ElsaError, RuntimeError, ValueError, ImportError) as error:
        yield "litert-int8", first_line(error)
    plans: list[tuple[str, str, Path, dict[str, str]]] = [
        ("openvino", "openvino-int8", folder / "rival.onnx", {}),
        ("openvino", "openvino-int8 without AMX", folder / "rival.onnx", _NO_AMX),
        ("ncnn", "ncnn-float32", plain, {}),
    ]
    for package, name, file, settings in plans:
        try:
            peer = stack.enter_context(Peer(package, settings=settings))
            peer.load(name, file, subject.input_path)
        except PeerError as error:
            yield name, str(error)
            continue
        yield name, partial(peer.run, name)
    yield "ncnn-int8", "its wheel has no ncnn2table and ncnn2int8, and no package that can be installed has"


def _measure(network: str, turns_s: float) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary, ExitStack() as stack:
        inside = Path(temporary, "ours")
        inside.mkdir()
        subject = Subject(network, "1x4", Path(temporary), _LADDER)
        export(subject, inside, choose="nested")
        found = dict(_engines(subject, inside, stack))
        runs = {name: run for name, run in found.items() if not isinstance(run, str)}
        samples = take_turns(runs, budget_s=turns_s)
    rows: list[Row] = []
    for name, run in found.items():
        row: dict[str, Any] = {"network": network, "granularity": "1x4", "engine": name}
        if isinstance(run, str):
            rows.append(row | {"median_ms": None, "ours_over_it": None, "note": run})
            continue
        told = row_of(samples[_OURS], samples[name], 1)
        of_it = row_of(samples[name], samples[name], 1)
        rows.append(
            row
            | {
                "median_ms": of_it["median_ms"],
                "ours_over_it": told["speedup"],
                "note": f"{told['rounds']} rounds",
            }
        )
    return rows


def _claims(rows: list[Row]) -> list[Claim]:
    return [
        at_least(f"{row['network']}: 90 % in 8 bits over {row['engine']}", 1.0, row["ours_over_it"])
        for row in rows
        if row["engine"] not in (_OURS, "ort-float32", "ort-int8")
    ]


@benchmark("int8-rivals", parts_option("network", _NETS))
def main(quick: bool, networks: tuple[str, ...]) -> Result:
    """Nested 8-bit kernels at 90 % against dense 8-bit networks in other engines."""
    nets = networks or (_NETS[2:] if quick else _NETS)
    rows = [row for network in nets for row in _measure(network, 1.0 if quick else _TURNS_S)]
    return Result(rows=rows, claims=_claims(rows))


if __name__ == "__main__":
    main()
