"""Read and write protobuf's wire format, in which ONNX models are stored: a device has neither onnx nor protobuf.

message = field*      field = varint(number << 3 | kind) value
kind 0: varint        kind 1: 8 bytes        kind 2: varint(length) payload        kind 5: 4 bytes

Only what ONNX uses: groups, which protobuf 3 dropped, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Buffer", "Field", "encoded", "fields"]

Buffer = bytes | memoryview

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_BITS: Final = 64


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: Which field of the message it is.
        raw: The field as it is stored.
        payload: What it holds when it is a message, text or bytes, else None.
        varint: The whole number when it is one, else None.
    """

    number: int
    raw: Buffer
    payload: Buffer | None
    varint: int | None


def fields(message: Buffer) -> Iterator[Field]:
    """Yield the fields of a message in order; of a memoryview nothing is copied.

    Raises:
        ValueError: When it is no protobuf, or cut off.
    """
    place = 0
    while place < len(message):
        start = place
        tag, place = _varint(message, place)
        kind = tag & 7
        payload = varint = None
        if kind == _VARINT:
            varint, place = _varint(message, place)
        elif kind == _FIXED64:
            place += 8
        elif kind == _FIXED32:
            place += 4
        elif kind == _BYTES:
            length, place = _varint(message, place)
            payload = message[place : place + length]
            place += length
        else:
            raise ValueError(f"wire type {kind} is not protobuf 3")
        if place > len(message):
            raise ValueError("the model is cut off")
        yield Field(tag >> 3, message[start:place], payload, varint)


def encoded(number: int, payload: bytes) -> bytes:
    """Return a field that holds a message, text or bytes."""
    return _encoded_varint(number << 3 | _BYTES) + _encoded_varint(len(payload)) + payload


def _varint(message: Buffer, place: int) -> tuple[int, int]:
    """Return the whole number at a place, and where it ends."""
    value = shift = 0
    while place < len(message) and shift < _MOST_BITS:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("the model is cut off")


def _encoded_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
