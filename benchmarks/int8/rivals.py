"""A level of 90 % in 8 bits against what others make of the dense network: `python -m benchmarks.int8.rivals`.

    ratio = median over rounds of (time of the rival / time of nested-int8 at 90 %), one thread, all in turns

OpenVINO reads the same quantised file as ONNX Runtime; LiteRT's is quantised by this project's exporter, on the same
input. OpenVINO and ncnn run in processes of their own (`python -m benchmarks.peers install openvino`, `ncnn`); one that
is absent has a row that says so. ncnn's wheel carries no tools that quantise: benchmarks/peers/ncnn_int8.py does it.
`correlation` is that of an engine's output with the float network's: it shows that the network ran, and with random
weights no more than that.

    --network resnet18      measures parts
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.common import Claim, Result, Row, at_least, benchmark, parts_option
from benchmarks.int8.__main__ import export
from benchmarks.int8.kept import cpu, rows_kept
from benchmarks.latency.engines import open_litert
from benchmarks.latency.files import Subject
from benchmarks.latency.timing import Run, here, row_of, take_turns
from benchmarks.peers import Peer, PeerError
from elsa_edge.errors import ElsaError, first_line
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.graph.names import LEVEL_INPUT

__all__ = ["main"]

_LADDER: Final = (0.9, 0.0)
_NETS: Final = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0", "mlp")
_OURS: Final = "nested-int8 at 90 %"
_FLOAT: Final = "ort-float32"
_WITHOUT_AMX: Final = "openvino-int8 without AMX"
_TURNS_S: Final = 15.0
# AMX, where a processor has it, is another kind of machine: with and without it are two rows.
_NO_AMX: Final = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}


@dataclass(frozen=True)
class _Engine:
    """What runs an engine and what it answered first, or why it cannot be measured."""

    run: Run | None = None
    answer: npt.NDArray[Any] | None = None
    note: str = ""


def _engines(subject: Subject, folder: Path, stack: ExitStack) -> Iterator[tuple[str, _Engine]]:
    """Yield each engine by its name."""
    plain = subject.fixed(subject.dense)
    level = {LEVEL_INPUT: np.array(0, np.int64)}
    for name, file, more in (
        (_FLOAT, plain, {}),
        (_OURS, folder / "model.onnx", level),
        ("ort-int8", folder / "rival.onnx", {}),
    ):
        infer = partial(open_session(file).run, None, {**subject.inputs, **more})
        yield name, _Engine(here(infer), infer()[0])
    try:
        run, answer = open_litert(subject.litert(subject.dense, "int8"), next(iter(subject.inputs.values())))
        yield "litert-int8", _Engine(run, answer)
    except (ElsaError, RuntimeError, ValueError, ImportError) as error:
        yield "litert-int8", _Engine(note=first_line(error))
    plans: list[tuple[str, str, Path, dict[str, str], dict[str, bool]]] = [
        ("openvino", "openvino-int8", folder / "rival.onnx", {}, {}),
        ("openvino", _WITHOUT_AMX, folder / "rival.onnx", _NO_AMX, {}),
        ("ncnn", "ncnn-float32", plain, {}, {}),
        ("ncnn", "ncnn-int8", plain, {}, {"int8": True}),
    ]
    for package, name, file, settings, options in plans:
        if name == _WITHOUT_AMX and "amx_int8" not in Path("/proc/cpuinfo").read_text():
            yield name, _Engine(note="this processor has no AMX: as openvino-int8")
            continue
        try:
            peer = stack.enter_context(Peer(package, settings=settings))
            answer = peer.load(name, file, subject.input_path, options)
        except PeerError as error:
            yield name, _Engine(note=str(error))
            continue
        yield name, _Engine(partial(peer.run, name), answer)


def _measure(network: str, turns_s: float) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary, ExitStack() as stack:
        inside = Path(temporary, "ours")
        inside.mkdir()
        subject = Subject(network, "1x4", Path(temporary), _LADDER)
        export(subject, inside, choose="nested")
        found = dict(_engines(subject, inside, stack))
        runs = {name: engine.run for name, engine in found.items() if engine.run is not None}
        samples = take_turns(runs, budget_s=turns_s)
    float_answer = found[_FLOAT].answer
    assert float_answer is not None
    rows: list[Row] = []
    for name, engine in found.items():
        row: Row = {
            "network": network,
            "granularity": "1x4",
            "engine": name,
            "date_utc": _now(),
            "cpu": cpu(),
        }
        if engine.answer is None:
            rows.append(
                row | {"median_ms": None, "ours_over_it": None, "correlation": None, "note": engine.note}
            )
            continue
        told = row_of(samples[_OURS], samples[name], 1)
        rows.append(
            row
            | {
                "median_ms": row_of(samples[name], samples[name], 1)["median_ms"],
                "ours_over_it": told["speedup"],
                "correlation": _correlation(engine.answer, float_answer),
                "note": f"{told['rounds']} rounds",
            }
        )
    return rows


def _correlation(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    return round(float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1]), 3)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _claims(rows: list[Row]) -> list[Claim]:
    return [
        at_least(f"{row['network']}: 90 % in 8 bits over {row['engine']}", 1.0, row["ours_over_it"])
        for row in rows
        if row["engine"] not in (_OURS, _FLOAT, "ort-int8", _WITHOUT_AMX)
    ]


@benchmark("int8-rivals", parts_option("network", _NETS))
def main(quick: bool, networks: tuple[str, ...]) -> Result:
    """Nested 8-bit kernels at 90 % against dense 8-bit networks in other engines."""
    nets = networks or (_NETS[2:] if quick else _NETS)
    rows = [row for network in nets for row in _measure(network, 1.0 if quick else _TURNS_S)]
    if not quick:
        rows = rows_kept("int8-rivals", ("network",), rows) + rows
    return Result(rows=rows, claims=_claims(rows))


if __name__ == "__main__":
    main()
