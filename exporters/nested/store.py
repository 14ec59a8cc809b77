"""The nested weights of a layer as segments, one per level, and which blocks each level uses.

cost of single rows: entries        cost of blocks of 4: 4 * blocks * BLOCK_ADVANTAGE        the cheaper one is written
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from elsa_edge.exporters.nested.layer import Geometry, Layer
from elsa_edge.exporters.nested.stored import Stored, stored
from elsa_edge.nested_format.planes import LINE_FLOATS, whole_lines
from elsa_edge.nested_format.segments import MOST_COLUMNS, encode

__all__ = ["BLOCK_ADVANTAGE", "Coded", "code_layer", "column_block"]

# A multiply-add in a block of 4 rows costs this share of one in a single row (docs/kernels.md: 60 and 37 GFLOP/s).
BLOCK_ADVANTAGE: Final = 0.6
# Pixels that a sweep over the rows reads again and again: the first-level cache, less what passes through it.
_TILE_BYTES: Final = 24_000
_PLAIN_TILE_BYTES: Final = 48_000  # where pixels are read without neighbours a miss is prefetched well
# The same with vectors of 8, whose tiles are half as wide as counted here: sums wait in memory less often, and pixels
# come from the second-level cache (AMD EPYC: ResNet-50 1.06 to 1.17 times as fast, MobileNetV2 1.07 to 1.09).
_NARROW_PLAIN_TILE_BYTES: Final = 192_000
_BLOCK_TILE_BYTES: Final = 60_000  # blocks of 4 rows read a quarter as many pixels for the same work
_TILE_FLOATS: Final = 12 * LINE_FLOATS
_BLOCK_TILE_FLOATS: Final = 6 * LINE_FLOATS


@dataclass(frozen=True)
class Coded:
    """A layer's segments.

    Attributes:
        segments: One a level that the layer has, sparsest first: uint8 bytes.
        work: Multiply-adds per output position at each level, in units of a single-row multiply-add.
        table: (levels, 2, rows) scale and bias; scales include those of int8 codes.
        before: Of a recurrent layer: the product with its input.
    """

    segments: tuple[npt.NDArray[np.uint8], ...]
    work: tuple[float, ...]
    table: npt.NDArray[np.float32]
    before: Coded | None = None

    def bytes_at(self, level: int) -> int:
        """Return the bytes of weights that a level reads, without those of `before`."""
        return sum(segment.nbytes for segment in self.segments[: level + 1])


def column_block(layer: Layer, *, in_blocks: bool = False, unit_bytes: int = 4, narrow: bool = False) -> int:
    """Return how many columns are swept together so that their pixels stay near.

    Args:
        layer: A convolution or matrix product.
        in_blocks: Whether its weights are stored in blocks of 4 rows.
        unit_bytes: Of a pixel: a tile of half floats has as many bytes, so twice as many pixels.
        narrow: Whether vectors are of 8 floats.
    """
    if layer.geometry is None:
        return MOST_COLUMNS
    g: Geometry = layer.geometry
    taps = g.kernel[0] * g.kernel[1]
    pitch = g.out_size[1] + max(g.output_gap, g.input_gap)
    tile = (_BLOCK_TILE_FLOATS if in_blocks else _TILE_FLOATS) * 4 // unit_bytes
    positions = min(tile, whole_lines(g.out_size[0] * pitch))
    reach = ((g.kernel[0] - 1) * pitch * g.dilation[0] + (g.kernel[1] - 1) * g.dilation[1]) // g.stride[0]
    plain = _NARROW_PLAIN_TILE_BYTES if narrow else _PLAIN_TILE_BYTES
    budget = _BLOCK_TILE_BYTES if in_blocks else plain if taps == 1 else _TILE_BYTES
    channels = max(8, budget // ((positions + reach) * unit_bytes))
    return min(channels * taps, MOST_COLUMNS // taps * taps)


def code_layer(
    layer: Layer, level_count: int, form: Stored = Stored.FLOAT32, *, narrow: bool = False
) -> Coded:
    """Write a layer's weights as one segment per level.

    Args:
        layer: A convolution, a matrix product or a recurrent layer, which has two.
        level_count: Levels of the ladder.
        form: What to store.
        narrow: Whether vectors are of 8 floats.
    """
    forms = _forms(layer, level_count)
    unit_bytes = 2 if form is Stored.FLOAT16 else 4
    in_blocks = all(rows == 4 for rows, _ in forms)
    width = column_block(layer, in_blocks=in_blocks, unit_bytes=unit_bytes, narrow=narrow)
    weight, factor = stored(layer.weight, layer.index < level_count, form)
    table = layer.table.copy()
    table[:, 0] *= factor
    segments, work = [], []
    total = 0.0
    for level, (block_rows, cost) in enumerate(forms):
        total += cost
        segments.append(encode(weight, layer.index == level, block_rows=block_rows, column_block=width))
        work.append(total)
    work += [total] * (level_count - len(work))
    before = None if layer.before is None else code_layer(layer.before, level_count, form, narrow=narrow)
    return Coded(tuple(segments), tuple(work), np.ascontiguousarray(table, np.float32), before)


def _forms(layer: Layer, level_count: int) -> list[tuple[int, float]]:
    """Return (rows of a block, work) of the cheaper form for each level that the layer has."""
    rows = len(layer.weight)
    share = rows // (layer.geometry.groups if layer.geometry else 1)
    forms = []
    for level in range(int(layer.index[layer.index < level_count].max(initial=0)) + 1):
        active = layer.index == level
        single = float(np.count_nonzero(active))
        block = 4.0 * _blocks(active) * BLOCK_ADVANTAGE
        forms.append((4, block) if block < single and (share == rows or share % 4 == 0) else (1, single))
    return forms


def _blocks(active: npt.NDArray[np.bool_]) -> int:
    """Count (4 rows x 1 column) blocks with any active weight."""
    rows = -(-len(active) // 4) * 4
    padded = np.zeros((rows, active.shape[1]), np.bool_)
    padded[: len(active)] = active
    return int(np.count_nonzero(padded.reshape(rows // 4, 4, -1).any(axis=1)))
