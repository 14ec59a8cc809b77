"""Graphs whose constants lie in a data file beside them; several that have constants in common store these once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import onnx
import onnx_ir as ir

from elsa_edge.files import atomic_file, write_bytes

__all__ = ["ALIGNMENT_BYTES", "DataPlace", "initializers", "place_of", "refer", "save_sharing"]

_SMALLEST_SHARED_BYTES: Final = 4096
# Offsets on page borders let a runtime map each tensor without copying; 16 KiB pages exist on phones.
ALIGNMENT_BYTES: Final = 16384


class DataPlace(NamedTuple):
    """Where a tensor's bytes lie: a file beside the graph, and where in it."""

    location: str
    offset: int
    length: int


def initializers(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Return the initializers of a graph and of all graphs inside its nodes."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += initializers(attribute.g)
    return found


def place_of(tensor: onnx.TensorProto) -> DataPlace | None:
    """Return where a tensor's bytes lie, or None where it holds them itself."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return None
    told = {entry.key: entry.value for entry in tensor.external_data}
    return DataPlace(told["location"], int(told.get("offset", "0")), int(told["length"]))


def refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Replace a tensor's bytes, or where it has them, by a place in a data file."""
    place = {"location": location, "offset": str(offset), "length": str(length)}
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.extend(onnx.StringStringEntryProto(key=k, value=v) for k, v in place.items())


def _key(tensor: onnx.TensorProto) -> str:
    return hashlib.sha256(tensor.raw_data).hexdigest()


def save_sharing(models: Sequence[tuple[str, ir.Model]], folder: Path, data_name: str) -> str | None:
    """Write each model to `folder/NAME`; constants that occur in several of them go to `folder/data_name`.

    Returns:
        `data_name` when anything is shared, else None and no data file.
    """
    protos = [(name, ir.to_proto(model)) for name, model in models]
    large = [
        {
            _key(tensor): tensor
            for tensor in proto.graph.initializer
            if len(tensor.raw_data) >= _SMALLEST_SHARED_BYTES
        }
        for _, proto in protos
    ]
    counts = Counter(key for tensors in large for key in tensors)
    offsets: dict[str, int] = {}
    with atomic_file(folder / data_name) as temporary, temporary.open("wb") as stream:
        for tensors in large:
            for key, tensor in tensors.items():
                if counts[key] > 1 and key not in offsets:
                    stream.write(b"\0" * (-stream.tell() % ALIGNMENT_BYTES))
                    offsets[key] = stream.tell()
                    stream.write(tensor.raw_data)
    for name, proto in protos:
        for tensor in proto.graph.initializer:
            key = _key(tensor) if len(tensor.raw_data) >= _SMALLEST_SHARED_BYTES else ""
            if key in offsets:
                refer(tensor, data_name, offsets[key], len(tensor.raw_data))
        write_bytes(folder / name, proto.SerializeToString())
    if not offsets:
        (folder / data_name).unlink()
        return None
    return data_name
