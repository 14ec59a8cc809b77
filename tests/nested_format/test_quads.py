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
    st.integers(1, 9), st.integers(1, 30), st.sampled_from([1, 4]), st.floats(0, 1), st.booleans(),
    st.integers(0, 1 << 30),
)  # fmt: skip
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
        values = segment.view(np.int8)[-(-(-found.entries * block_rows * 4 // 64) * 64) or len(segment) :]
        stored = np.abs(values[: found.entries * block_rows * 4].astype(np.int16)).reshape(-1, 2).sum(axis=1)
        assert (stored <= 128).all()
        groups = np.zeros((-(-rows // block_rows) * block_rows, columns), np.bool_)
        groups[:rows] = (index == level).any(axis=2)
        blocks = groups.reshape(-1, block_rows, columns).any(axis=1).sum()
        assert blocks <= found.entries <= (2 * blocks if large else blocks)
    assert np.array_equal(total, np.where(index < 3, codes, 0))


def test_rows_are_filled_up_with_blocks_of_zeros() -> None:
    """Every row has a multiple of 8 blocks or none, and adds up to the same codes."""
    random = np.random.default_rng(1)
    codes = random.integers(-127, 128, (6, 20, 4)).astype(np.int8)
    active = random.random(codes.shape) < 0.1
    active[3] = False
    filled = encode_quads(codes, active, multiple=8)
    pointers = np.frombuffer(filled.tobytes(), "<u4", 7, 64)
    assert (np.diff(pointers) % 8 == 0).all()
    assert pointers[4] == pointers[3]
    assert np.array_equal(decode_quads(filled).codes, decode_quads(encode_quads(codes, active)).codes)


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
