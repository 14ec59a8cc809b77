"""Segments of 8-bit blocks: what is written adds up to the codes, and no stored pair can saturate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_edge.errors import ContractError
from elsa_edge.nested_format.quads import decode_quads, encode_quads


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 30),
    st.sampled_from([1, 4, 8]),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_levels_add_up_and_pairs_are_safe(  # noqa: PLR0917 - drawn by hypothesis
    rows: int, columns: int, block_rows: int, density: float, large: bool, seed: int
) -> None:
    """Segments of all levels add up to the weight; a block with a large pair is two entries, others one."""
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (rows, columns, 4)).astype(np.int8)
    if not large:
        codes //= 2
    index = np.where(random.random(codes.shape) < density, random.integers(0, 3, codes.shape), 255)
    total = np.zeros(codes.shape, np.int16)
    for level in range(3):
        segment = encode_quads(codes, index == level, block_rows=block_rows)
        found = decode_quads(segment)
        assert found.block_rows == block_rows
        total += found.codes
        height = 1 if block_rows == 8 else block_rows
        values = segment.view(np.int8)[-(-(-found.entries * height * 4 // 64) * 64) or len(segment) :]
        stored = np.abs(values[: found.entries * height * 4].astype(np.int16)).reshape(-1, 2).sum(axis=1)
        assert (stored <= 128).all()
        groups = np.zeros((-(-rows // height) * height, columns), np.bool_)
        groups[:rows] = (index == level).any(axis=2)
        blocks = groups.reshape(-1, height, columns).any(axis=1).sum()
        if block_rows != 8:
            assert blocks <= found.entries <= (2 * blocks if large else blocks)
    assert np.array_equal(total, np.where(index < 3, codes, 0))


def test_rows_side_by_side_are_as_long_as_the_longest() -> None:
    """Eight rows have 8 entries for each block of the longest, and add up to the same codes."""
    random = np.random.default_rng(1)
    codes = random.integers(-60, 61, (14, 20, 4)).astype(np.int8)
    active = random.random(codes.shape) < 0.1
    active[3] = False
    segment = encode_quads(codes, active, block_rows=8)
    pointers = np.frombuffer(segment.tobytes(), "<u4", 3, 64)
    longest = [active[rows].any(axis=2).sum(axis=1).max() for rows in (slice(0, 8), slice(8, 14))]
    assert np.diff(pointers).tolist() == [8 * count for count in longest]
    assert np.array_equal(decode_quads(segment).codes, np.where(active, codes, 0))


def test_what_the_format_cannot_hold_is_refused() -> None:
    """Other shapes, rows of a block and more columns than an index can name."""
    codes = np.zeros((2, 3, 4), np.int8)
    with pytest.raises(ContractError, match="blocks of 1 or 4 rows"):
        encode_quads(codes, codes == 0, block_rows=2)
    with pytest.raises(ContractError, match="int8 of shape"):
        encode_quads(codes[..., :3], codes[..., :3] == 0)
    wide = np.zeros((1, 65537, 4), np.int8)
    with pytest.raises(ContractError, match="at most 65536 quads"):
        encode_quads(wide, wide == 0)
