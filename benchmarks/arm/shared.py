"""Rows that share loads, timed on this machine: `python -m benchmarks.arm shared`.

    one row:    12 vectors of pixels are loaded and multiplied for each nonzero
    four rows:  3 vectors are loaded for each column that any of them has, and multiplied for those that have it

Both loops are compiled for AVX2 and given the pointwise layers of real masks, as `masks` counts them. The four rows of
a group are sorted by which of them a column has: 15 patterns, a loop each, so no branch within one. Each form takes the
better of two widths of its blocks of columns, and is checked against numpy. x86-64 with AVX2 only: on ARM the loops of
single rows already run at the limit of the multipliers (`arm-loops.json`), so loads are not what they wait for.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.arm.masks import grouped, real_masks, shared_columns
from benchmarks.common import Result, Row, benchmark
from benchmarks.repair.imagenet import IMAGENET

__all__ = ["Layer", "compiled", "seconds"]

Mask = npt.NDArray[np.bool_]
_SOURCE: Final = Path(__file__).with_name("shared.cpp")
_FLAGS: Final = ("-std=c++17", "-O3", "-mavx2", "-mfma", "-shared", "-fPIC")
_SPARSITIES: Final = (0.95, 0.9, 0.8, 0.0)
_TILE: Final = 96
_ALONE_BLOCKS: Final = (62, 250)
_TOGETHER_BLOCKS: Final = (250, 1000)
_ROUNDS: Final = 9


@dataclass(frozen=True)
class Layer:
    """A pointwise layer.

    Attributes:
        weight: (rows, columns), zero where it is cut.
        pixels: (columns, positions).
    """

    weight: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.float32]

    @property
    def offsets(self) -> npt.NDArray[np.int32]:
        """Where each column's pixels begin."""
        columns, positions = self.pixels.shape
        return np.arange(columns, dtype=np.int32) * np.int32(positions)


def compiled(folder: Path) -> ctypes.CDLL:
    """Return both loops, compiled into a folder."""
    library = folder / "shared.so"
    subprocess.run(["g++", *_FLAGS, str(_SOURCE), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _alone(library: ctypes.CDLL, layer: Layer, width: int) -> Callable[[npt.NDArray[np.float32]], None]:
    weight, offsets = layer.weight, layer.offsets
    rows, columns = weight.shape
    index, value, counts = [], [], [0]
    for start in range(0, columns, width):
        for row in weight[:, start : start + width]:
            there = np.flatnonzero(row)
            index.append(there)
            value.append(row[there])
            counts.append(len(there))
    held: tuple[npt.NDArray[Any], ...] = (
        np.cumsum(counts, dtype=np.uint32),
        np.concatenate(index).astype(np.uint16),
        np.concatenate(value).astype(np.float32),
    )

    def run(y: npt.NDArray[np.float32]) -> None:
        library.alone(
            _pointer(layer.pixels), _pointer(offsets), width, *(_pointer(array) for array in held),
            rows, -(-columns // width), ctypes.c_int64(layer.pixels.shape[1]), _pointer(y),
        )  # fmt: skip

    return run


def _together(library: ctypes.CDLL, layer: Layer, width: int) -> Callable[[npt.NDArray[np.float32]], None]:
    weight, offsets = layer.weight, layer.offsets
    rows, columns = weight.shape
    groups = rows // 4
    index: list[int] = []
    value: list[float] = []
    pointers, values = [0], []
    for start in range(0, columns, width):
        for group in range(groups):
            block = weight[4 * group : 4 * group + 4, start : start + width]
            patterns = ((block != 0) * np.array([[1], [2], [4], [8]])).sum(axis=0)
            values.append(len(value))
            for pattern in range(1, 16):
                for column in np.flatnonzero(patterns == pattern):
                    index.append(int(column))
                    value += [float(v) for v in block[:, column] if v != 0]
                pointers.append(len(index))
    held: tuple[npt.NDArray[Any], ...] = (
        np.array(pointers, np.uint32),
        np.array(index, np.uint16),
        np.array(value, np.float32),
    )
    begins = np.array(values, np.uint32)

    def run(y: npt.NDArray[np.float32]) -> None:
        library.together(
            _pointer(layer.pixels), _pointer(offsets), width, *(_pointer(array) for array in held), _pointer(begins),
            groups, -(-columns // width), ctypes.c_int64(layer.pixels.shape[1]), _pointer(y),
        )  # fmt: skip

    return run


def seconds(library: ctypes.CDLL, layer: Layer) -> tuple[float, float]:
    """Return the best times of rows alone and of four together, run in turns after all were checked against numpy.

    Args:
        library: From `compiled`.
        layer: Its rows a multiple of 4, its positions one of 96.
    """
    runs = [_alone(library, layer, width) for width in _ALONE_BLOCKS]
    runs += [_together(library, layer, width) for width in _TOGETHER_BLOCKS]
    expected = layer.weight @ layer.pixels
    y = np.zeros(expected.shape, np.float32)
    for run in runs:
        y[:] = 0
        run(y)
        np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)
    best = [float("inf")] * len(runs)
    for _ in range(_ROUNDS):
        for number, run in enumerate(runs):
            began = time.thread_time()
            run(y)
            best[number] = min(best[number], time.thread_time() - began)
    return min(best[: len(_ALONE_BLOCKS)]), min(best[len(_ALONE_BLOCKS) :])


def _row(
    library: ctypes.CDLL, name: str, sparsity: float, masks: dict[str, tuple[Mask, int]], order: str
) -> Row:
    random = np.random.default_rng(0)
    alone = together = 0.0
    nonzeros = columns = 0
    for mask, positions in masks.values():
        arranged = grouped(mask, 4) if order == "grouped" else mask
        arranged = arranged[: len(arranged) // 4 * 4]
        size = -(-positions // _TILE) * _TILE
        weight = np.where(arranged, random.uniform(0.5, 1.0, arranged.shape), 0).astype(np.float32)
        layer = Layer(weight, random.standard_normal((arranged.shape[1], size)).astype(np.float32))
        one, four = seconds(library, layer)
        alone, together = alone + one, together + four
        nonzeros += int(arranged.sum()) * positions
        columns += shared_columns(arranged, 4) * positions
    return {
        "network": name,
        "sparsity": sparsity,
        "rows": order,
        "layers": len(masks),
        "products_a_column": round(nonzeros / columns, 3),
        "alone_ms": round(alone * 1e3, 3),
        "together_ms": round(together * 1e3, 3),
        "speedup": round(alone / together, 3),
    }


@benchmark("shared-rows")
def main(quick: bool) -> Result:
    """Time rows that share loads against rows alone, on the pointwise layers of real masks."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as folder:
        library = compiled(Path(folder))
        for name in list(IMAGENET)[:1] if quick else list(IMAGENET):
            for sparsity, masks in real_masks(name, _SPARSITIES):
                pointwise = {key: layer for key, layer in masks.items() if layer[0].shape[0] >= 4}
                rows += [
                    _row(library, name, sparsity, pointwise, order) for order in ("as they come", "grouped")
                ]
    return Result(rows=rows, claims=[])
