"""Segments of 8-bit blocks: 4 codes of consecutive input channels (`1x4`), or 4 rows of them (`4x4`). Pure numpy.

For products with a vector 8 rows can lie side by side: first blocks of all 8, second blocks of all 8, ..., each with
a column of its own, filled up with blocks of zeros to the longest of them. A row is then a lane: nothing is added up
across lanes, and no end of a row is guessed wrong.

Instructions that multiply pairs of bytes into 16 bits saturate where |code 0| + |code 1| > 128. A block with such a
pair is stored as two, with its even and its odd codes: their sum is the block, on every processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ContractError
from elsa_edge.nested_format.segments import MOST_COLUMNS, write_segment

__all__ = ["SIDE_BY_SIDE", "QuadSegment", "decode_quads", "encode_quads"]

SIDE_BY_SIDE: Final = 8  # as `block_rows`: rows that lie side by side
_LARGEST_PAIR: Final = 128
_VALUE_TYPE: Final = 2


@dataclass(frozen=True)
class QuadSegment:
    """A decoded segment.

    Attributes:
        codes: (rows, columns, 4) int16: what the entries of a place add up to.
        entries: Stored blocks, those that were split counted twice.
        block_rows: 1, 4, or 8 rows side by side.
    """

    codes: npt.NDArray[np.int16]
    entries: int
    block_rows: int


def encode_quads(
    codes: npt.NDArray[np.int8], active: npt.NDArray[np.bool_], *, block_rows: int = 1
) -> npt.NDArray[np.uint8]:
    """Write the active codes of a weight as one segment.

    Args:
        codes: (rows, columns, 4), none -128; what is not active is stored as 0.
        active: The same shape: which codes this level adds. A block is stored where any of its codes is active.
        block_rows: 1, or 4 rows that share each block, or `SIDE_BY_SIDE`.

    Raises:
        ContractError: When the format cannot hold them.
    """
    rows, columns, four = codes.shape
    if four != 4 or codes.dtype != np.int8 or active.shape != codes.shape:
        raise ContractError(
            "Codes are int8 of shape (rows, columns, 4)", found=f"{codes.dtype} {codes.shape}"
        )
    if block_rows not in (1, 4, SIDE_BY_SIDE):
        raise ContractError("A segment has blocks of 1 or 4 rows, or 8 rows side by side", found=block_rows)
    if not 1 <= columns <= MOST_COLUMNS:
        raise ContractError(
            "8-bit weights have at most 65536 quads of inputs a row",
            found=f"{columns}",
            fix="Leave the layer in float32",
        )
    height = 1 if block_rows == SIDE_BY_SIDE else block_rows  # rows that share a column
    groups = -(-rows // height)
    kept = np.zeros((groups * height, columns, 4), np.int8)
    kept[:rows] = np.where(active, codes, 0)
    there = np.zeros((groups * height, columns), np.bool_)
    there[:rows] = active.any(axis=2)
    group, column = np.nonzero(there.reshape(groups, height, columns).any(axis=1))
    values = kept.reshape(groups, height, columns, 4)[group, :, column]  # (entries, height, 4)
    pairs = np.abs(values.astype(np.int16)).reshape(len(values), 2 * height, 2).sum(axis=2)
    split = (pairs > _LARGEST_PAIR).any(axis=1)
    place = np.repeat(np.arange(len(values)), 1 + split)
    second = np.r_[False, place[1:] == place[:-1]] if len(place) else np.zeros(0, np.bool_)
    values = values[place]
    values[split[place] & ~second, :, 1::2] = 0
    values[second, :, 0::2] = 0
    counts, index = np.bincount(group[place], minlength=groups), column[place]
    if block_rows == SIDE_BY_SIDE:
        index, counts, values = _side_by_side(index, counts, values)
    return write_segment(
        rows=rows,
        columns=columns,
        block_rows=block_rows,
        value_type=_VALUE_TYPE,
        column_block=columns,
        counts=counts,
        index=index,
        values=values,
    )


def _side_by_side(
    index: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], values: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int8]]:
    """Turn rows of blocks into eights of rows; what fills up is a block of zeros at column 0."""
    eights = -(-len(counts) // SIDE_BY_SIDE)
    full = np.zeros(eights * SIDE_BY_SIDE, np.int64)
    full[: len(counts)] = counts
    steps = full.reshape(eights, SIDE_BY_SIDE).max(axis=1)
    row = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)  # of a block in its row
    eight, lane = row // SIDE_BY_SIDE, row % SIDE_BY_SIDE
    places = ((np.cumsum(steps) - steps)[eight] + number) * SIDE_BY_SIDE + lane
    wide_index = np.zeros(int(steps.sum()) * SIDE_BY_SIDE, index.dtype)
    wide_values = np.zeros((len(wide_index), *values.shape[1:]), values.dtype)
    wide_index[places], wide_values[places] = index, values
    return wide_index, steps * SIDE_BY_SIDE, wide_values


def decode_quads(data: npt.NDArray[np.uint8]) -> QuadSegment:
    """Read a segment that `encode_quads` wrote (the kernels, not this, are the guard against hostile files)."""
    raw = data.tobytes()
    rows, columns, block_rows, value_type, _, entries = np.frombuffer(raw, "<u4", 6, 8).tolist()
    if value_type != _VALUE_TYPE:
        raise ContractError("This segment does not hold quads", expected=_VALUE_TYPE, found=value_type)
    side_by_side = block_rows == SIDE_BY_SIDE
    height = 1 if side_by_side else block_rows
    groups = -(-rows // block_rows)
    pointers = np.frombuffer(raw, "<u4", groups + 1, 64)
    at = 64 + -(-pointers.nbytes // 64) * 64
    index = np.frombuffer(raw, "<u2", entries, at)
    at += -(-index.nbytes // 64) * 64
    values = np.frombuffer(raw, "i1", entries * height * 4, at).reshape(entries, height, 4)
    group = np.repeat(np.arange(groups), np.diff(pointers))
    if side_by_side:
        group = group * SIDE_BY_SIDE + np.arange(entries) % SIDE_BY_SIDE
    codes = np.zeros((groups * block_rows // height, height, columns, 4), np.int16)
    for place, column, value in zip(group, index, values, strict=True):
        codes[place, :, column] += value
    return QuadSegment(codes.reshape(-1, columns, 4)[:rows], entries, block_rows)
