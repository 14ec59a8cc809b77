"""Move the external data of an ONNX model so that every tensor and every prepacked matrix begins at a multiple of 64.

ONNX Runtime 1.31 writes a prepacked matrix right after its tensor, wherever that ends, and later hands the mapped
address to kernels that load whole cache lines: a matrix of 10 x 489 crashes the process, others only run slower.
The model is edited as protobuf's wire format:

    ModelProto.graph = 7      GraphProto.node = 1, .initializer = 5      NodeProto.attribute = 5
    AttributeProto.g = 6      TensorProto.external_data = 13             StringStringEntryProto.key = 1, .value = 2

External data of a tensor: `location`, `offset`, `length`, and `prepacked_N` = "KEY|OFFSET;LENGTH;CHECKSUM|...".
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from elsa_edge.runtime_adapters.ort.wire import Buffer, encoded, fields

__all__ = ["ALIGNMENT", "align_external_data", "external_spans"]

ALIGNMENT: Final = 64

_EXTERNAL_DATA: Final = 13
_MESSAGES: Final = {  # message -> field number -> message inside it
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 11: "graph"},
}

Entries = dict[str, str]


def align_external_data(model: Path, data: Path, aligned_model: Path, aligned_data: Path) -> None:
    """Write both files again with aligned offsets.

    Args:
        model: An ONNX model whose external data is all in `data`.
        data: That file.
        aligned_model: Where the edited model goes.
        aligned_data: Where the moved data goes, in the same folder; the model then names this file.

    Raises:
        ValueError: When the model is not readable or points outside its data.
    """
    with data.open("rb") as source, aligned_data.open("wb") as target:
        if data.stat().st_size == 0:
            mapped: mmap.mmap | bytes = b""
        else:
            mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)

        def move(entries: Entries) -> Entries:
            moved = dict(entries)
            moved["location"] = aligned_data.name
            moved["offset"] = str(
                _append(target, mapped, int(entries.get("offset", "0")), int(entries["length"]))
            )
            for key, value in entries.items():
                if key.startswith("prepacked_"):
                    moved[key] = _move_prepacked(target, mapped, value)
            return moved

        edited = _edit(model.read_bytes(), "model", move)
    aligned_model.write_bytes(edited)


def external_spans(model: Path) -> list[tuple[int, int]]:
    """Return (offset, length) of everything that a model keeps in its external data."""
    spans: list[tuple[int, int]] = []

    def note(entries: Entries) -> Entries:
        spans.append((int(entries.get("offset", "0")), int(entries["length"])))
        for key, value in entries.items():
            if key.startswith("prepacked_"):
                spans.extend(
                    (int(b[0]), int(b[1])) for b in (blob.split(";") for blob in value.split("|")[1:])
                )
        return entries

    _edit(model.read_bytes(), "model", note)
    return spans


def _move_prepacked(target: BinaryIO, data: mmap.mmap | bytes, value: str) -> str:
    key, *blobs = value.split("|")
    moved = [key]
    for blob in blobs:
        offset, length, *rest = blob.split(";")
        moved.append(";".join([str(_append(target, data, int(offset), int(length))), length, *rest]))
    return "|".join(moved)


def _append(target: BinaryIO, data: mmap.mmap | bytes, offset: int, length: int) -> int:
    """Copy a span to the next aligned place and return where that is."""
    if offset < 0 or length < 0 or offset + length > len(data):
        message = f"external data at {offset} of {length} bytes is outside a file of {len(data)} bytes"
        raise ValueError(message)
    place = target.tell()
    padding = -place % ALIGNMENT
    target.write(bytes(padding))
    target.write(data[offset : offset + length])
    return place + padding


def _edit(message: Buffer, kind: str, move: Callable[[Entries], Entries]) -> bytes:
    """Return a message with the external data of all tensors below it replaced by `move`."""
    if kind == "tensor":
        return _edit_tensor(message, move)
    inside = _MESSAGES[kind]
    parts: list[Buffer] = []
    for number, raw, payload, _ in fields(message):
        if payload is not None and number in inside:
            parts.append(encoded(number, _edit(payload, inside[number], move)))
        else:
            parts.append(raw)
    return b"".join(parts)


def _edit_tensor(message: Buffer, move: Callable[[Entries], Entries]) -> bytes:
    parts: list[Buffer] = []
    entries: Entries = {}
    for number, raw, payload, _ in fields(message):
        if number == _EXTERNAL_DATA and payload is not None:
            strings = {n: bytes(p).decode() for n, _, p, _ in fields(payload) if p is not None}
            entries[strings.get(1, "")] = strings.get(2, "")
        else:
            parts.append(raw)
    if entries:
        for key, value in move(entries).items():
            parts.append(encoded(_EXTERNAL_DATA, encoded(1, key.encode()) + encoded(2, value.encode())))
    return b"".join(parts)
