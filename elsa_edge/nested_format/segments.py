"""Segments: the nonzeros one level adds to one weight, as the bytes that the kernels read. Pure numpy.

    level k of a weight = segments 0 .. k added up; each entry belongs to exactly one segment

The layout is described once, in native/segment.h. Columns of a convolution are (channel in group, ky, kx), flattened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ContractError

__all__ = ["MAGIC", "MOST_COLUMNS", "Segment", "decode", "encode", "write_segment"]

MAGIC: Final = b"ELSASEG1"
_HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("rows", "<u4"),
        ("columns", "<u4"),
        ("block_rows", "<u4"),
        ("value_type", "<u4"),
        ("column_block", "<u4"),
        ("entries", "<u4"),
        ("reserved", "<u4", 2),
        ("zero", "u1", 24),
    ]
)
# By value_type; those of quads (2) are not written here.
_VALUES: Final[dict[int, np.dtype[Any]]] = {0: np.dtype("<f4"), 1: np.dtype("i1"), 3: np.dtype("<f2")}
# Of a block: an index is a u16. 8-bit weights are one block.
MOST_COLUMNS: Final = 65536


@dataclass(frozen=True)
class Segment:
    """A decoded segment.

    Attributes:
        values: (rows, columns) float32, float16 or int8, zero where there is no entry.
        active: (rows, columns) True where an entry lies, also where its value is zero.
        block_rows: 1, or 4 output rows that share each column.
        column_block: Columns that are swept together, so that their pixels stay in the first-level cache.
    """

    values: npt.NDArray[Any]
    active: npt.NDArray[np.bool_]
    block_rows: int
    column_block: int


def _padded(data: npt.NDArray[Any]) -> bytes:
    raw = data.tobytes()
    return raw + bytes(-len(raw) % 64)


def encode(
    weight: npt.NDArray[Any],
    active: npt.NDArray[np.bool_],
    *,
    block_rows: int = 1,
    column_block: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Write the active entries of a weight as one segment.

    Args:
        weight: (rows, columns) float32 or float16 values, or int8 codes.
        active: (rows, columns) which entries this level adds. With blocks of 4 rows, a column is stored for a block
            where any of its rows is active; the others are stored as zero.
        block_rows: 1 or 4.
        column_block: Columns swept together; None means as many as an index can name.

    Raises:
        ContractError: When a value is not allowed by the format.
    """
    rows, columns = weight.shape
    width = min(column_block or MOST_COLUMNS, columns, MOST_COLUMNS)
    if block_rows not in (1, 4):
        raise ContractError("A segment has blocks of 1 or 4 rows", found=block_rows)
    value_type = next((number for number, kind in _VALUES.items() if kind == weight.dtype), None)
    if value_type is None:
        raise ContractError("A segment has float32, float16 or int8 values", found=weight.dtype)
    groups = -(-rows // block_rows)
    kept = np.zeros((groups * block_rows, columns), weight.dtype)
    kept[:rows] = np.where(active, weight, 0)
    padded = np.zeros((groups * block_rows, columns), np.bool_)
    padded[:rows] = active
    there: npt.NDArray[np.bool_] = np.logical_or.reduce(padded.reshape(groups, block_rows, columns), axis=1)
    indices, values, counts = [], [], []
    for start in range(0, columns, width):
        group, column = np.nonzero(there[:, start : start + width])  # in order of groups
        counts.append(np.bincount(group, minlength=groups))
        indices.append(column.astype("<u2"))
        blocks = kept.reshape(groups, block_rows, columns)[group, :, column + start]  # (entries, block_rows)
        values.append(blocks.reshape(-1))
    return write_segment(
        rows=rows,
        columns=columns,
        block_rows=block_rows,
        value_type=value_type,
        column_block=width,
        counts=np.concatenate(counts),
        index=np.concatenate(indices),
        values=np.concatenate(values),
    )


def write_segment(
    *,
    rows: int,
    columns: int,
    block_rows: int,
    value_type: int,
    column_block: int,
    counts: npt.NDArray[Any],
    index: npt.NDArray[Any],
    values: npt.NDArray[Any],
) -> npt.NDArray[np.uint8]:
    """Put the parts of a segment together.

    Args:
        rows: Of the weight; so are `columns`.
        columns: Number of places that an index may name.
        block_rows: Rows of a block.
        value_type: What an entry's values are, see native/segment.h.
        column_block: Columns swept together.
        counts: Entries of each group of rows, block of columns after block of columns.
        index: Column of each entry within its block.
        values: Of each entry, in order.
    """
    pointers = np.concatenate([[0], np.cumsum(counts)]).astype("<u4")
    header = np.zeros((), _HEADER)
    header["magic"], header["rows"], header["columns"] = MAGIC, rows, columns
    header["block_rows"], header["value_type"] = block_rows, value_type
    header["column_block"], header["entries"] = column_block, pointers[-1]
    parts = (header.tobytes(), _padded(pointers), _padded(index.astype("<u2")), _padded(values))
    return np.frombuffer(b"".join(parts), np.uint8)


def decode(data: npt.NDArray[np.uint8]) -> Segment:
    """Read a segment that `encode` wrote (the kernels, not this, are the guard against hostile files)."""
    raw = data.tobytes()
    if raw[: len(MAGIC)] != MAGIC or len(raw) < _HEADER.itemsize:
        raise ContractError("This is not a segment", expected="ELSASEG1", found=raw[: len(MAGIC)])
    header = np.frombuffer(raw, _HEADER, 1)[0]
    rows, columns, block_rows, width = (
        int(header[n]) for n in ("rows", "columns", "block_rows", "column_block")
    )
    groups, blocks, entries = -(-rows // block_rows), -(-columns // width), int(header["entries"])
    at = _HEADER.itemsize
    pointers = np.frombuffer(raw, "<u4", groups * blocks + 1, at)
    at += -(-pointers.nbytes // 64) * 64
    index = np.frombuffer(raw, "<u2", entries, at)
    at += -(-index.nbytes // 64) * 64
    value = np.frombuffer(raw, _VALUES[int(header["value_type"])], entries * block_rows, at).reshape(
        entries, block_rows
    )
    place = np.repeat(np.arange(groups * blocks), np.diff(pointers))  # block * groups + group
    column = index.astype(np.int64) + place // groups * width
    values = np.zeros((groups, block_rows, columns), value.dtype)
    active = np.zeros((groups, block_rows, columns), np.bool_)
    values[place % groups, :, column] = value
    active[place % groups, :, column] = True
    return Segment(values.reshape(-1, columns)[:rows], active.reshape(-1, columns)[:rows], block_rows, width)
