"""Pixel loads that rows of real masks could share: `python -m benchmarks.arm masks`.

    loads a product of R rows over N vectors = (U (N + 1) + W) / (K N)
    U columns that any of the R rows has, K nonzeros of the rows, W loads of their weights; 1 for where the column lies

One row alone has U = K, so its loads a product are 1 + 1/N + W/(K N): what rows could share is worth that much less
where fewer rows leave room for more vectors. Rows are taken as they come, or grouped by likeness: each group begins
with the first row that is left and takes those that have most columns in common with it.

Products of a layer count as often as its output has vectors. Magnitude over the whole network, depthwise convolutions
and stems dense, as `sparsify` cuts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.common import Result, Row, benchmark
from benchmarks.repair.imagenet import IMAGENET
from elsa_edge.sparsify import sparsify

__all__ = ["grouped", "real_masks", "shared_columns"]

Mask = npt.NDArray[np.bool_]

_SPARSITIES: Final = (0.95, 0.9, 0.8, 0.7, 0.0)
_IMAGE: Final = (1, 3, 224, 224)


@dataclass(frozen=True)
class _Registers:
    """How many vectors of pixels fit beside the sums of so many rows.

    Attributes:
        name: The instruction set.
        vectors: Rows -> vectors.
        by_lane: Whether a product takes its weight from a lane of a vector: one load for 4 weights.
    """

    name: str
    vectors: dict[int, int]
    by_lane: bool


_SETS: Final = (
    _Registers("NEON", {1: 24, 2: 12, 4: 6, 8: 3}, True),
    _Registers("AVX2", {1: 12, 2: 6, 4: 3}, False),
    _Registers("AVX-512", {1: 14, 2: 12, 4: 6, 8: 3}, False),
)


def grouped(mask: Mask, rows: int) -> Mask:
    """Return the rows of a mask (rows, columns) in an order in which groups of `rows` have many columns in common."""
    common = mask.astype(np.float32) @ mask.astype(np.float32).T
    left = list(range(len(mask)))
    order: list[int] = []
    while left:
        first = left[0]
        best = sorted(left[1:], key=lambda row: -common[first, row])[: rows - 1]
        order += [first, *best]
        left = [row for row in left if row not in {first, *best}]
    return mask[order]


def shared_columns(mask: Mask, rows: int) -> int:
    """Return the sum over groups of `rows` rows of the columns that any of them has."""
    missing = -len(mask) % rows
    padded = np.concatenate([mask, np.zeros((missing, mask.shape[1]), bool)])
    return int(padded.reshape(-1, rows, mask.shape[1]).any(axis=1).sum())


def _loads_a_product(columns: float, nonzeros: float, vectors: int, *, by_lane: bool, rows: int) -> float:
    # A group of 4 weights that belong together is one load where a lane can be taken, padded to the rows of a column.
    weights = columns * -(-rows // 4) if by_lane and rows > 1 else nonzeros / 4 if by_lane else nonzeros
    return (columns * (vectors + 1) + weights) / (nonzeros * vectors)


def _layers(model: nn.Module) -> dict[str, int]:
    """Return how many positions the output of each convolution has."""
    positions: dict[str, int] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):

            def note(_: nn.Module, __: Any, output: torch.Tensor, name: str = name) -> None:
                positions[f"{name}.weight"] = output.shape[2] * output.shape[3]

            hooks.append(module.register_forward_hook(note))
    with torch.inference_mode():
        model(torch.zeros(_IMAGE))
    for hook in hooks:
        hook.remove()
    return positions


def real_masks(name: str, sparsities: Sequence[float]) -> Iterator[tuple[float, dict[str, tuple[Mask, int]]]]:
    """Yield each sparse level with the masks (rows, columns) of its convolutions and how many positions they have."""
    model = IMAGENET[name].make().eval()
    positions = _layers(model)
    checkpoint = sparsify(model, sparsities)
    for level, sparsity in enumerate(sparsities[:-1]):
        yield (
            sparsity,
            {
                weight: ((index <= level).reshape(index.shape[0], -1), positions[weight])
                for weight, index in checkpoint.indices.items()
                if weight in positions
            },
        )


def _rows(name: str) -> Iterator[Row]:
    for sparsity, layers in real_masks(name, _SPARSITIES):
        masks = {weight: mask for weight, (mask, _) in layers.items()}
        positions = {weight: count for weight, (_, count) in layers.items()}
        products = sum(int(mask.sum()) * positions[weight] for weight, mask in masks.items())
        for rows in (2, 4, 8):
            row: Row = {"network": name, "sparsity": sparsity, "rows": rows}
            for order, arranged in (("as they come", None), ("grouped", grouped)):
                columns = sum(
                    shared_columns(arranged(mask, rows) if arranged else mask, rows) * positions[weight]
                    for weight, mask in masks.items()
                )
                row[f"products a column, {order}"] = round(products / columns, 3)
                for machine in _SETS:
                    if rows not in machine.vectors:
                        continue
                    alone = _loads_a_product(
                        products, products, machine.vectors[1], by_lane=machine.by_lane, rows=1
                    )
                    together = _loads_a_product(
                        columns, products, machine.vectors[rows], by_lane=machine.by_lane, rows=rows
                    )
                    row[f"{machine.name} loads, {order}"] = round(together / alone, 3)
            yield row


@benchmark("arm-masks")
def main(quick: bool) -> Result:
    """Pixel loads that rows of real masks could share, over those of single rows."""
    names = list(IMAGENET)[:1] if quick else list(IMAGENET)
    return Result(rows=[row for name in names for row in _rows(name)], claims=[])
