"""Recurrent layers and volumes with nested weights against ONNX Runtime's own: `python -m benchmarks.sequences`.

    ratio = median over rounds of (time of dense float32 / time of the level), all in turns in one process, one thread

An LSTM of 256 over 32 steps, a keyword spotter of a GRU over 49, and convolutions over a video of 8 pictures (deep
kernels, then flat ones), weights random; written as a build writes them, with kernels chosen by measurement, in float32
(single zeros, and blocks of 4 rows) and in 8 bits (blocks of 1x4).

The rival in 8 bits: ONNX Runtime has no LSTM between QDQ nodes; its `quantize_dynamic` makes a
DynamicQuantizeLSTM of one. It has no 8-bit GRU at all: there a network of GRUs keeps them in float32.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir as ir

from benchmarks.common import Claim, Result, Row, at_least, benchmark, parts_option
from benchmarks.common.sessions import profile_for
from benchmarks.int8.__main__ import export
from benchmarks.latency.files import Subject
from benchmarks.latency.timing import Run, here, row_of, take_turns
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Nested
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.graph.names import LEVEL_INPUT

__all__ = ["main"]

_NETS: Final = ("lstm", "gru", "video")
_LADDER: Final = (0.95, 0.9, 0.8, 0.0)
_TURNS_S: Final = 20.0
_QUICK_S: Final = 1.0
_DENSE: Final = "float32"
_RIVAL: Final = "ONNX Runtime, 8 bits"
# Networks whose layers it has in 8 bits.
_RIVALS: Final = {"lstm": "DynamicQuantizeLSTM"}
# Form -> engine, granularity.
_FORMS: Final = {
    "float32, single zeros": ("ort-nested", "unstructured"),
    "float32, blocks of 4 rows": ("ort-nested", "block"),
    "8 bits, 1x4": ("nested-int8", "1x4"),
}
# Sparsity -> ratio to dense float32 to reach; no level costs more than 3 %.
_TARGETS: Final = {0.8: 2.0, 0.9: 3.0, 0.95: 4.0}
_NEVER_BELOW: Final = 0.97


def _written(engine: str, subject: Subject, folder: Path) -> list[str]:
    """Write a variant and return what computes each of its levels."""
    if engine == "nested-int8":
        variant, refused = export(subject, folder)
        kinds: list[str] = list(variant.notes["kernels"])
        return kinds if refused is None else [f"{kind}, left out of bundles: {refused}" for kind in kinds]
    variant = OrtNestedExporter().export(
        subject.graph, profile_for(engine), Golden(subject.inputs, ()), folder
    )
    assert isinstance(variant.instructions, Nested)
    return ["nested" if names else "dense" for names in variant.instructions.nested_layers]


def _dynamic(dense: Path, folder: Path, operator: str) -> Path:
    """Return the dense network with 8-bit weights by ONNX Runtime's own tools, and make sure that they took it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / "dynamic.onnx"
    proto = onnx.load(dense)
    # It turns a product's weight in place, and then takes the old shape for an error.
    del proto.graph.value_info[:]
    logging.disable(logging.WARNING)  # it recommends what was done
    try:
        quantize_dynamic(proto, path, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)
    assert operator in {node.op_type for node in ir.load(path).graph}
    return path


def _measure(network: str, turns_s: float) -> list[Row]:
    """Return a row for dense float32 and one for each level of each form."""
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary:
        runs: dict[str, Run] = {}
        kernels: dict[str, list[str]] = {}
        for form, (engine, granularity) in _FORMS.items():
            folder = Path(temporary, form)
            (folder / "subject").mkdir(parents=True)
            subject = Subject(network, granularity, folder / "subject", _LADDER)
            (folder / "written").mkdir()
            kernels[form] = _written(engine, subject, folder / "written")
            session = open_session(folder / "written" / "model.onnx")
            if not runs:
                dense = open_session(subject.fixed(subject.dense))
                runs[_DENSE] = here(partial(dense.run, None, subject.inputs))
                if network in _RIVALS:
                    path = _dynamic(subject.fixed(subject.dense), folder, _RIVALS[network])
                    runs[_RIVAL] = here(partial(open_session(path).run, None, subject.inputs))
            for level, sparsity in enumerate(_LADDER):
                feed: dict[str, Any] = {**subject.inputs, LEVEL_INPUT: np.array(level, np.int64)}
                runs[f"{form}@{sparsity}"] = here(partial(session.run, None, feed))
        samples = take_turns(runs, budget_s=turns_s)
    rows: list[Row] = []
    for form in _FORMS:
        for level, sparsity in enumerate(_LADDER):
            found = row_of(samples[f"{form}@{sparsity}"], samples[_DENSE], 1)
            row: Row = {"network": network, "form": form, "sparsity": sparsity}
            if _RIVAL in samples:
                found["over_int8"] = row_of(samples[f"{form}@{sparsity}"], samples[_RIVAL], 1)["speedup"]
            rows.append(row | found | {"kernels": kernels[form][level]})
    plain: list[Row] = [
        {"network": network, "form": form, **row_of(samples[form], samples[_DENSE], 1)}
        for form in (_DENSE, _RIVAL)
        if form in samples
    ]
    return [*plain, *rows]


def _claims(rows: Sequence[Row]) -> list[Claim]:
    return [
        at_least(
            f"{row['network']}, {row['form']}, {row['sparsity']:.0%}: over dense float32",
            _NEVER_BELOW if row["network"] == "video" else _TARGETS.get(row["sparsity"], _NEVER_BELOW),
            row["speedup"],
        )
        for row in rows
        if "sparsity" in row
    ]


@benchmark("sequences", parts_option("network", _NETS))
def main(quick: bool, networks: tuple[str, ...]) -> Result:
    """LSTM, GRU and video networks with nested weights, in float32 and in 8 bits, over dense float32."""
    rows = [
        row for network in networks or _NETS for row in _measure(network, _QUICK_S if quick else _TURNS_S)
    ]
    return Result(rows=rows, claims=_claims(rows))


if __name__ == "__main__":
    main()
