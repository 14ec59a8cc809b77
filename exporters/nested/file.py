"""Join the branches of all levels and write them: `model.onnx` and `model.data`, weights level by level.

    model.data = | segments of level 0, tables | segments of level 1 | ... | dense weights |    parts start at pages

A device that stays at level 0 reads only the first pages; one with less memory may be sent only a prefix. A dense
weight that several branches have alike is one place of the file, but a constant of each branch: ONNX Runtime does not
use its fast layout for a convolution whose weight lies in the outer graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.files import atomic_file, write_bytes
from elsa_edge.graph.cascade import choose_by_level
from elsa_edge.graph.constants import constant
from elsa_edge.graph.names import IR_VERSION, LEVEL_INPUT, OPSET
from elsa_edge.graph.shared_data import initializers, refer
from elsa_edge.nested_format.operators import DOMAIN

__all__ = ["Sizes", "join", "save"]

_PAGE_BYTES: Final = 16384  # of the largest pages that phones and boards use
_LINE_BYTES: Final = 64
_SMALLEST_BYTES: Final = 1024

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a data file.

    Attributes:
        parts: Of each level's part: the segments that the graph reads.
        branches: First level of a branch -> bytes of its own dense weights, shared with other branches or not.
    """

    parts: tuple[int, ...]
    branches: dict[int, int]


def join(
    branches: Sequence[tuple[int, ir.Model]],
    tensors: Mapping[str, Array],
    count: int,
    like: ir.Graph,
    share: Callable[[ir.Graph], None] | None = None,
) -> ir.Model:
    """Return one graph in which the level chooses the branch.

    Args:
        branches: (first level, network); inputs beyond the network's own are names in `tensors`, or the level.
        tensors: What the branches share.
        count: Levels of the ladder.
        like: The graph whose inputs and outputs the result has.
        share: Moves what branches have alike into the outer graph, before they are joined.
    """
    names = {value.name for value in like.inputs} - {LEVEL_INPUT}
    outer = ir.Graph(
        inputs=[ir.Value(name=v.name, shape=v.shape, type=v.type) for v in like.inputs if v.name in names],
        outputs=[],
        nodes=[],
        opset_imports={"": OPSET, DOMAIN: 1},
        name="ort_nested",
    )
    level = ir.Value(name=LEVEL_INPUT, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
    outer.inputs.append(level)
    if share is not None:
        share(outer)
    given = {str(value.name): value for value in outer.inputs}
    for _, model in branches:
        for inner in list(model.graph.inputs):
            name = str(inner.name)
            if name not in given:
                given[name] = constant(outer, name, tensors[name])
            inner.replace_all_uses_with(given[name], replace_graph_outputs=True)
        model.graph.inputs.clear()
    choose_by_level(
        outer,
        level,
        count,
        [(first, model.graph) for first, model in branches],
        like.outputs,
        first_refuses=any(node.domain == DOMAIN for node in branches[0][1].graph),
    )
    model = ir.Model(outer, ir_version=IR_VERSION, producer_name="elsa-edge")
    common.OutputFixPass()(model)
    common.RemoveUnusedNodesPass()(model)
    return model


def save(models: Mapping[str, ir.Model], folder: Path, parts: Sequence[Sequence[str]]) -> Sizes:
    """Write graphs that share their weights: `NAME.onnx` for each, and `model.data`.

    Args:
        models: Name -> graph from `join`.
        folder: An existing folder.
        parts: Names of tensors that belong together, in the order of the file: one part per level.

    Returns:
        How many bytes of the first graph belong to what.
    """
    protos = {name: ir.to_proto(model) for name, model in models.items()}
    tensors = [{tensor.name: tensor for tensor in initializers(proto.graph)} for proto in protos.values()]
    listed = {name for part in parts for name in part}
    own = [
        [name for name, t in of_one.items() if name not in listed and len(t.raw_data) >= _SMALLEST_BYTES]
        for of_one in tensors
    ]
    first = {name: len(tensor.raw_data) for name, tensor in tensors[0].items()}
    branches: dict[int, int] = {}
    for name in own[0]:
        branch, inside, _ = name.partition("/")
        if not inside or not branch.isdigit():
            continue  # of the outer graph: the weights that branches mask, whose bytes they count themselves
        level = int(branch)
        branches[level] = branches.get(level, 0) + first[name]
    sizes = Sizes(tuple(sum(first.get(name, 0) for name in part) for part in parts), branches)

    places: dict[str, int] = {}
    with atomic_file(folder / "model.data") as temporary, temporary.open("wb") as stream:
        for part in [[[name for name in part if name in of_one] for of_one in tensors] for part in parts] + [
            own
        ]:
            stream.write(bytes(-stream.tell() % _PAGE_BYTES))
            for of_one, names in zip(tensors, part, strict=True):
                for name in names:
                    tensor = of_one[name]
                    place = _place(tensor.raw_data, stream, places)
                    refer(tensor, "model.data", place, len(tensor.raw_data))
    for name, proto in protos.items():
        write_bytes(folder / f"{name}.onnx", proto.SerializeToString())
    return sizes


def _place(data: bytes, stream: BinaryIO, places: dict[str, int]) -> int:
    """Return where in the file some bytes lie, after writing them when they are new."""
    key = hashlib.sha256(data).hexdigest()
    if key not in places:
        stream.write(bytes(-stream.tell() % _LINE_BYTES))
        places[key] = stream.tell()
        stream.write(data)
    return places[key]
