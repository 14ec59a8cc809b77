"""Write a set of layers with a choice of kernels for each level: levels that agree share a branch.

choices -> spans of levels -> a branch each, nested or dense -> one graph, one data file in the order of levels
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.bundle.instructions import plain_role
from elsa_edge.exporters.nested.branch import nested_branch, tensor_names
from elsa_edge.exporters.nested.file import Sizes, join, save
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.layer_set import DENSE, KernelChoice, LayerSet
from elsa_edge.exporters.nested.spans import same_outside, spans_of
from elsa_edge.exporters.nested.stored import Stored, stored
from elsa_edge.files import write_bytes
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.outer_scope import mask_in_place, share_masked_weights
from elsa_edge.nested_format.operators import FLOATS, HALVES

__all__ = ["write", "write_dense"]

Array = npt.NDArray[Any]

# Weights of 8-bit codes are multiplied as floats.
_FAMILIES: Final = {Stored.FLOAT32: FLOATS, Stored.INT8: FLOATS, Stored.FLOAT16: HALVES}


def write_dense(layers: LayerSet, file: Path, level: int) -> None:
    """Write the plain network of one level, dead channels dropped, without a level input."""
    write_bytes(file, ir.to_proto(layers.dense(level, keep_dead=False)).SerializeToString())


def write(
    layers: LayerSet,
    folder: Path,
    chosen: Sequence[KernelChoice],
    *,
    others: Mapping[str, Sequence[KernelChoice]] | None = None,
    keep_dead: Collection[int] = (),
    only_nested: bool = False,
    masks_fold: bool = True,
    plain: Collection[int] = (),
) -> tuple[int, ...]:
    """Write `model.onnx` and `model.data`.

    Args:
        layers: The network.
        folder: An existing folder.
        chosen: A choice for each level.
        others: Name -> another choice for each level, written as `NAME.onnx` over the same data.
        keep_dead: Dense levels that keep channels which are zero there.
        only_nested: Leave dense levels out; for timing the others.
        masks_fold: The runtime folds constants when it loads the file, so that dense levels below a dense densest one
            may be masks on its weights, and take few bytes.
        plain: Dense levels that also get a file of their own, over the same data.

    Returns:
        Bytes of weights that each level of `model.onnx` reads.
    """
    files = {"model": chosen, **(others or {})}
    used: KernelChoice = frozenset().union(*(choice for every in files.values() for choice in every))
    tensors, parts = _tensors(layers, used)
    models = {}
    for name, every in files.items():
        masked = _masked(every) if masks_fold and not only_nested else frozenset()
        branches = [
            (first, _branch(layers, every[first], first, last, keep_dead, mask=first in masked))
            for first, last in _spans(layers, every)
            if every[first] or not only_nested
        ]
        sparser = [model.graph for first, model in branches if first in masked]
        share = partial(share_masked_weights, graph=layers.graph, branches=sparser) if sparser else None
        models[name] = join(branches, tensors, layers.count, layers.graph.model.graph, share)
    masked = _masked(chosen) if masks_fold else frozenset()
    for level in plain:
        models[plain_role(level)] = _branch(layers, DENSE, level, level, keep_dead, mask=level in masked)
        if level in masked:
            mask_in_place(models[plain_role(level)], layers.graph)
    sizes = save(models, folder, parts)
    folded = {level: _folded_bytes(layers, level, keep_dead, sizes) for level in masked}
    return tuple(
        sum(sizes.parts[: level + 1] if chosen[level] else [])
        + folded.get(first, sizes.branches.get(first, 0))
        for first, last in _spans(layers, chosen)
        for level in range(first, last + 1)
    )


def _branch(
    layers: LayerSet,
    choice: KernelChoice,
    first: int,
    last: int,
    keep_dead: Collection[int],
    *,
    mask: bool,
) -> ir.Model:
    """Return the network that levels first .. last share; a dense one with its weights, or as masks on others'."""
    if choice:
        return nested_branch(
            layers.models[last], layers.chosen(choice), layers.coded, last, _FAMILIES[layers.form]
        )
    if mask:
        return at_level(layers.graph, first, drop_dead_channels=first not in keep_dead, fold=False)
    return layers.dense(first, keep_dead=first in keep_dead).clone()


def _folded_bytes(layers: LayerSet, level: int, keep_dead: Collection[int], sizes: Sizes) -> int:
    """Return the bytes of weights of a masked level once they are folded: the densest level's, or of fewer channels."""
    if level in keep_dead or not layers.smaller_when_dense(level):
        return sizes.branches.get(layers.count - 1, 0)
    dense = layers.dense(level, keep_dead=False).graph.initializers.values()
    return sum(value.const_value.nbytes for value in dense if value.const_value is not None)


def _masked(chosen: Sequence[KernelChoice]) -> frozenset[int]:
    """Return the dense levels whose weights are those of the densest level but for a mask."""
    if chosen[-1]:
        return frozenset()
    return frozenset(level for level, choice in enumerate(chosen[:-1]) if not choice)


def _spans(layers: LayerSet, chosen: Sequence[KernelChoice]) -> list[tuple[int, int]]:
    """Return (first, last) levels that one branch can serve: the same choice, and nothing else differs by level."""

    def alike(before: int, level: int) -> bool:
        choice = chosen[level]
        if not choice or chosen[before] != choice:
            return False
        inside = {p for layer in layers.chosen(choice) for p in (layer.position, *layer.absorbed)}
        return same_outside(layers.models[before], layers.models[level], inside)

    return spans_of(range(len(chosen)), alike)


def _tensors(layers: LayerSet, used: KernelChoice) -> tuple[Mapping[str, Array], list[list[str]]]:
    """Return the tensors that branches share and their order: part k holds what level k adds."""
    tensors: dict[str, Array] = {}
    parts: list[list[str]] = [[] for _ in range(layers.count)]
    for layer in layers.chosen(used):
        coded = layers.coded.get(layer.position)
        products = [(layer, coded)]
        if layer.before is not None and coded is not None:
            products.insert(0, (layer.before, coded.before))
        for product, segments in products:
            if segments is None:
                arrays = _of_depthwise(product, layers.count, layers.form)
            else:
                arrays = [segments.table, *segments.segments]
            names = tensor_names(product, segments)
            for place, (name, array) in enumerate(zip(names, arrays, strict=True)):
                tensors[name] = array
                parts[max(0, place - 1)].append(name)
    return tensors, parts


def _of_depthwise(layer: Layer, count: int, form: Stored) -> list[Array]:
    """Return the table of a depthwise layer and its weights, which no form but that of halves changes."""
    if form is not Stored.FLOAT16:
        return [layer.table, _by_level(layer, count)]
    halves, factor = stored(layer.weight, layer.index < count, form)
    table = layer.table.copy()
    table[:, 0] *= factor
    return [table, _by_level(replace(layer, weight=halves), count)]


def _by_level(layer: Layer, count: int) -> Array:
    """Return depthwise weights (levels, channels, taps), or (1, ...) where no level differs."""
    every = np.stack([np.where(layer.index <= level, layer.weight, 0) for level in range(count)]).astype(
        layer.weight.dtype
    )
    return every[:1] if all(np.array_equal(every[0], other) for other in every[1:]) else every
