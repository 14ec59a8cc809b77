"""Segments keep exactly what they were given, byte for byte, and damaged ones are refused."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_edge.errors import ContractError
from elsa_edge.nested_format.library import library_path
from elsa_edge.nested_format.segments import decode, encode


def problem(data: bytes) -> str | None:
    """What the library says about the bytes of a segment."""
    path = library_path()
    assert path is not None
    check = ctypes.CDLL(str(path)).elsa_segment_problem
    check.restype, check.argtypes = ctypes.c_char_p, [ctypes.c_char_p, ctypes.c_size_t]
    said = check(data, len(data))
    return None if said is None else said.decode()


def example() -> bytes:
    weight = np.arange(1, 31, dtype=np.float32).reshape(5, 6)
    return encode(weight, weight % 3 == 0, block_rows=1, column_block=4).tobytes()


@given(data=st.data())
def test_what_is_encoded_is_decoded(data: st.DataObject) -> None:
    """Values and places survive; with blocks of 4, places grow to whole blocks and their values are zero."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 40)))
    weight = random.integers(-100, 100, shape).astype(data.draw(st.sampled_from([np.float32, np.int8])))
    active = random.random(shape) < data.draw(st.floats(0, 1))
    block_rows, column_block = data.draw(st.sampled_from([1, 4])), data.draw(st.sampled_from([None, 1, 7]))
    raw = encode(weight, active, block_rows=block_rows, column_block=column_block)
    read = decode(raw)

    assert problem(raw.tobytes()) is None
    assert np.array_equal(read.values, np.where(active, weight, 0))
    assert np.all(read.active >= active)
    assert block_rows == 4 or np.array_equal(read.active, active)


def test_the_bytes_are_those_of_the_format() -> None:
    """A tiny segment, written down by hand."""
    raw = encode(
        np.array([[0, 2.0], [3.0, 0]], np.float32), np.array([[False, True], [True, False]])
    ).tobytes()
    header = b"ELSASEG1" + np.array([2, 2, 1, 0, 2, 2, 0, 0], "<u4").tobytes() + bytes(24)
    parts = [np.array(p, t).tobytes() for p, t in (([0, 1, 2], "<u4"), ([1, 0], "<u2"), ([2.0, 3.0], "<f4"))]

    assert raw == header + b"".join(part.ljust(64, b"\0") for part in parts)


@pytest.mark.parametrize(
    ("offset", "value", "complaint"),
    [
        (0, b"X", "does not start with ELSASEG1"),
        (16, b"\x02\0\0\0", "block_rows is neither 1 nor 4"),
        (20, b"\x07\0\0\0", "value_type is none of 0, 1, 2 and 3"),
        (8, b"\xff\xff\xff\xff", "rows or columns out of range"),
        (24, b"\0\0\0\0", "column_block out of range"),
        (28, b"\xff\xff\xff\xff", "size does not follow"),
        (64, b"\x01", "first pointer is not 0"),
        (68, b"\x7f", "pointers fall|beyond the entries"),
        (64 + 4 * 10, b"\x00", "pointers fall|last pointer"),
        (128, b"\xff\xff", "a column lies beyond its block"),
    ],
)
def test_damage_is_named(offset: int, value: bytes, complaint: str) -> None:
    """One changed field, one sentence."""
    raw = bytearray(example())
    raw[offset : offset + len(value)] = value
    said = problem(bytes(raw))

    assert said is not None
    assert any(part in said for part in complaint.split("|")), said


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 383), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 400),
)
def test_random_damage_is_refused_or_harmless(changes: list[tuple[int, int]], cut: int) -> None:
    """What passes the check decodes without leaving its bounds."""
    raw = bytearray(example())
    for offset, value in changes:
        if offset < len(raw):
            raw[offset] = value
    raw = raw[: max(cut, 0)] if cut < 200 else raw
    if problem(bytes(raw)) is None:
        decode(np.frombuffer(bytes(raw), np.uint8))


def test_settings_outside_the_format_are_refused() -> None:
    """Blocks of 2 rows and float64 values do not exist."""
    weight, active = np.ones((2, 2), np.float32), np.ones((2, 2), np.bool_)
    with pytest.raises(ContractError, match="blocks of 1 or 4 rows"):
        encode(weight, active, block_rows=2)
    with pytest.raises(ContractError, match="float32, float16 or int8"):
        encode(weight.astype(np.float64), active)
