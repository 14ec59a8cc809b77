"""What an ONNX file says of its inputs and outputs, read without loading the network: microseconds, no weights.

ModelProto.graph = 7             GraphProto.initializer = 5, .input = 11, .output = 12      TensorProto.name = 8
ValueInfoProto.name = 1, .type = 2      TypeProto.tensor_type = 1      Tensor.elem_type = 1, .shape = 2
TensorShapeProto.dim = 1         Dimension.dim_value = 1; any other dimension may have any size

The numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from elsa_edge.runtime_adapters.ort.wire import Buffer, fields
from elsa_edge.tensors import TensorSpec

__all__ = ["inputs_and_outputs"]

_GRAPH, _INITIALIZER, _INPUT, _OUTPUT = 7, 5, 11, 12
_INITIALIZER_NAME: Final = 8
# From here on, a varint is a whole number below zero.
_NEGATIVE: Final = 1 << 63
# Of onnx.TensorProto.DataType, those that a network here may take or give.
_DTYPES: Final[Mapping[int, str]] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}

Specs = dict[str, TensorSpec]


def inputs_and_outputs(model: Path) -> tuple[Specs, Specs]:
    """Return the inputs and outputs of an ONNX file by name, in its order.

    Raises:
        ValueError: When it is no ONNX file, or does not say the type or the number of dimensions of one.
        OSError: When it cannot be read.
    """
    with model.open("rb") as stream:
        # Closes itself with the last view of it.
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return _of_graph(_only(memoryview(mapped), _GRAPH))


def _of_graph(graph: Buffer) -> tuple[Specs, Specs]:
    inputs: Specs = {}
    outputs: Specs = {}
    stored: set[str] = set()
    for number, _, payload, _ in fields(graph):
        if payload is None:
            continue
        if number == _INITIALIZER:
            stored.add(_text(payload, _INITIALIZER_NAME))
        elif number in (_INPUT, _OUTPUT):
            spec = _spec(payload)
            (inputs if number == _INPUT else outputs)[spec.name] = spec
    return {name: spec for name, spec in inputs.items() if name not in stored}, outputs


def _spec(value_info: Buffer) -> TensorSpec:
    name = _text(value_info, 1)
    tensor = _only(_only(value_info, 2), 1)
    kinds = [varint for number, _, _, varint in fields(tensor) if number == 1 and varint is not None]
    if not kinds or kinds[-1] not in _DTYPES:
        raise ValueError(f"{name} has no type that is known here")
    shape = [_size(dim) for number, _, dim, _ in fields(_only(tensor, 2)) if number == 1 and dim is not None]
    return TensorSpec(name, tuple(shape), _DTYPES[kinds[-1]])


def _size(dimension: Buffer) -> int | None:
    sizes = [varint for number, _, _, varint in fields(dimension) if number == 1 and varint is not None]
    return sizes[-1] if sizes and sizes[-1] < _NEGATIVE else None


def _only(message: Buffer, wanted: int) -> Buffer:
    """Return the last payload of a number, which is the one that counts."""
    payloads = [payload for number, _, payload, _ in fields(message) if number == wanted]
    if not payloads or payloads[-1] is None:
        raise ValueError(f"the model has no field {wanted} where one must be")
    return payloads[-1]


def _text(message: Buffer, wanted: int) -> str:
    return bytes(_only(message, wanted)).decode()
