"""Sparse encoding of one weight: only its nonzeros are stored, with their places, in TFLite's own format.

    rows x columns, CSR:          segments (rows + 1), column indices (one a nonzero), nonzeros in row order
    1x4 blocks along the columns: the same over blocks of four neighbouring columns, of which one is not zero

A weight of more than two dimensions counts its leading ones as rows: `[O, kh, kw, I]` has O*kh*kw rows.
Indices take one, two or four bytes, whichever is the smallest that holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from elsa_edge.exporters.tflite.model import schema

__all__ = ["BLOCK", "Layout", "SparseWeight", "decode", "encode", "smallest"]

Layout = Literal["csr", "block4"]
BLOCK: Final = 4
_DENSE: Final = 0
_SPARSE_CSR: Final = 1


@dataclass(frozen=True)
class SparseWeight:
    """A weight's nonzeros and where they are.

    Attributes:
        layout: "csr", or "block4" for 1x4 blocks along the last dimension.
        shape: The dense shape.
        values: Stored numbers, `(stored,)` or `(blocks, 4)`, in row order.
        segments: Where each row starts, `(rows + 1,)`, int64.
        indices: Column (or block column) of each stored item, int64.
    """

    layout: Layout
    shape: tuple[int, ...]
    values: npt.NDArray[Any]
    segments: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]

    @property
    def size_bytes(self) -> int:
        """Bytes of numbers and places together; the flatbuffer adds a few dozen more."""
        places = sum(part.size * _index_type(part).itemsize for part in (self.segments, self.indices))
        return int(self.values.nbytes + places)

    def parameters(self) -> Any:
        """Return the schema's `SparsityParametersT`."""
        classes = schema()
        blocked = self.layout == "block4"
        leading = [classes.DimensionMetadataT(format=_DENSE, denseSize=size) for size in self.shape[:-1]]
        sparse = classes.DimensionMetadataT(format=_SPARSE_CSR)
        sparse.arraySegmentsType, sparse.arraySegments = _vector(self.segments)
        sparse.arrayIndicesType, sparse.arrayIndices = _vector(self.indices)
        inner = [classes.DimensionMetadataT(format=_DENSE, denseSize=BLOCK)] if blocked else []
        return classes.SparsityParametersT(
            traversalOrder=np.arange(len(self.shape) + len(inner), dtype=np.int32),
            blockMap=np.array([len(self.shape) - 1], np.int32) if blocked else None,
            dimMetadata=[*leading, sparse, *inner],
        )


def _index_type(places: npt.NDArray[np.int64]) -> np.dtype[Any]:
    largest = int(places.max(initial=0))
    return np.dtype(np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.int32)


def _vector(places: npt.NDArray[np.int64]) -> tuple[int, Any]:
    """Return the union type and the object of an index vector."""
    classes = schema()
    kinds = {"uint8": "Uint8Vector", "uint16": "Uint16Vector", "int32": "Int32Vector"}
    dtype = _index_type(places)
    name = kinds[dtype.name]
    return getattr(classes.SparseIndexVector, name), getattr(classes, name + "T")(values=places.astype(dtype))


def encode(weight: npt.NDArray[Any], layout: Layout) -> SparseWeight:
    """Encode a dense weight, losslessly (a negative zero becomes zero).

    Args:
        weight: At least one dimension; for "block4" the last is a multiple of four.
        layout: How.
    """
    columns = weight.shape[-1]
    width = BLOCK if layout == "block4" else 1
    if columns % width:
        raise ValueError(f"1x4 blocks need a multiple of four columns, not {columns}")
    items = weight.reshape(-1, columns // width, width)
    stored = np.any(items != 0, axis=2)
    if not stored.any():
        stored[0, 0] = True  # the runtime takes a tensor without any data for an activation
    rows, indices = np.nonzero(stored)
    segments = np.zeros(items.shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=items.shape[0]), out=segments[1:])
    values = items[stored] if width > 1 else items[stored].reshape(-1)
    return SparseWeight(layout, weight.shape, values, segments, indices.astype(np.int64))


def decode(sparse: SparseWeight) -> npt.NDArray[Any]:
    """Return the dense weight again."""
    width = BLOCK if sparse.layout == "block4" else 1
    items = np.zeros((sparse.segments.size - 1, sparse.shape[-1] // width, width), sparse.values.dtype)
    rows = np.repeat(np.arange(items.shape[0]), np.diff(sparse.segments))
    items[rows, sparse.indices] = sparse.values.reshape(-1, width)
    return items.reshape(sparse.shape)


def smallest(weight: npt.NDArray[Any]) -> SparseWeight | None:
    """Return the smaller of the two encodings, or None when neither is smaller than the dense weight."""
    layouts: tuple[Layout, ...] = ("csr", "block4") if weight.shape[-1] % BLOCK == 0 else ("csr",)
    best = min((encode(weight, layout) for layout in layouts), key=lambda coded: coded.size_bytes)
    return best if best.size_bytes < weight.nbytes else None
