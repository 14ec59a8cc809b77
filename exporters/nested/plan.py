"""The layers of a network and their segments, ready to be written with any choice of kernels a level.

choice[level] = positions of the layers that nested kernels compute; empty for ONNX Runtime's dense ones everywhere
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.nested.branch import nested_branch, tensor_names
from elsa_edge.exporters.nested.file import join, save
from elsa_edge.exporters.nested.find import Layer, array_of, find_layers, level_models
from elsa_edge.exporters.nested.store import Coded, code_layer
from elsa_edge.files import write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level

__all__ = ["Choice", "Plan"]

Choice = frozenset[int]


class Plan:
    """The layers of a network and their segments, ready to be written with any choice."""

    def __init__(self, graph: CanonicalGraph, *, int8: bool = False) -> None:
        self.graph = graph
        self.models = level_models(graph)
        self.layers, _ = find_layers(self.models)
        self.count = len(graph.ladder)
        self.coded: dict[int, Coded] = {
            layer.position: code_layer(layer, self.count, int8=int8)
            for layer in self.layers
            if layer.kind != "depthwise"
        }
        self._dense: dict[tuple[int, bool], ir.Model] = {}

    @property
    def nodes(self) -> list[ir.Node]:
        """The nodes of the network, in order; a layer's position is its place here."""
        return list(self.models[-1].graph)

    @property
    def every(self) -> Choice:
        """The choice of nested kernels wherever there is one."""
        return frozenset(layer.position for layer in self.layers)

    def names(self, choice: Choice) -> list[str]:
        """Return the names of the layers of a choice, sorted."""
        return sorted(layer.name for layer in self.layers if layer.position in choice)

    def smaller_when_dense(self, level: int) -> bool:
        """Tell whether the plain network of a level can be smaller than the densest one: whole outputs are zero.

        Smaller is not always faster: ONNX Runtime likes numbers of channels that its vectors divide.
        """
        return any(bool((layer.index > level).all(axis=1).any()) for layer in self.layers)

    def write_dense(self, file: Path, level: int) -> None:
        """Write the plain network of one level, dead channels dropped, without a level input."""
        write_bytes(file, ir.to_proto(self._dense_model(level, True)).SerializeToString())

    def write(
        self,
        folder: Path,
        chosen: Sequence[Choice],
        *,
        others: Mapping[str, Sequence[Choice]] | None = None,
        keep_dead: Collection[int] = (),
        only_nested: bool = False,
    ) -> tuple[int, ...]:
        """Write `model.onnx` and `model.data`.

        Args:
            folder: An existing folder.
            chosen: A choice for each level.
            others: Name -> another choice for each level, written as `NAME.onnx` over the same data.
            keep_dead: Dense levels that keep channels which are zero there.
            only_nested: Leave dense levels out; for timing the others.

        Returns:
            Bytes of weights that each level of `model.onnx` reads.
        """
        variants = {"model": chosen, **(others or {})}
        used = frozenset[int]().union(*(choice for every in variants.values() for choice in every))
        tensors, parts = self._tensors([layer for layer in self.layers if layer.position in used], self.count)
        kept = None if only_nested else keep_dead
        models = {
            name: join(self._branches(every, kept), tensors, self.count, self.graph.model.graph)
            for name, every in variants.items()
        }
        sizes = save(models, folder, parts)
        return tuple(
            sum(sizes.parts[: level + 1] if chosen[level] else []) + sizes.branches.get(first, 0)
            for first, last in self._spans(chosen)
            for level in range(first, last + 1)
        )

    def _branches(
        self, chosen: Sequence[Choice], keep_dead: Collection[int] | None
    ) -> list[tuple[int, ir.Model]]:
        """Return (first level, network) of each branch; dense ones only where `keep_dead` is given."""
        by_position = {layer.position: layer for layer in self.layers}
        branches: list[tuple[int, ir.Model]] = []
        for first, last in self._spans(chosen):
            if chosen[first]:
                layers = [by_position[position] for position in sorted(chosen[first])]
                branches.append((first, nested_branch(self.models[last], layers, self.coded, last)))
            elif keep_dead is not None:
                branches.append((first, self._dense_model(first, first not in keep_dead).clone()))
        return branches

    def _dense_model(self, level: int, drop_dead_channels: bool) -> ir.Model:
        key = (level, drop_dead_channels)
        if key not in self._dense:
            self._dense[key] = at_level(self.graph, level, drop_dead_channels=drop_dead_channels)
        return self._dense[key]

    def _spans(self, chosen: Sequence[Choice]) -> list[tuple[int, int]]:
        """Return (first, last) levels that one branch can serve: the same choice, and nothing else differs by level."""
        spans: list[tuple[int, int]] = []
        for level, positions in enumerate(chosen):
            if (
                spans
                and positions
                and chosen[spans[-1][1]] == positions
                and self._alike(spans[-1][1], level, positions)
            ):
                spans[-1] = (spans[-1][0], level)
            else:
                spans.append((level, level))
        return spans

    def _alike(self, a: int, b: int, positions: Choice) -> bool:
        """Tell whether two levels agree in every constant outside the chosen layers."""
        inside = {
            p
            for layer in self.layers
            if layer.position in positions
            for p in (layer.position, *layer.absorbed)
        }
        for position, (first, second) in enumerate(
            zip(self.models[a].graph, self.models[b].graph, strict=True)
        ):
            if position in inside:
                continue
            for left, right in zip(first.inputs, second.inputs, strict=True):
                x, y = array_of(left), array_of(right)
                if (x is None) != (y is None) or (x is not None and y is not None and not _same(x, y)):
                    return False
        return True

    def _tensors(
        self, layers: list[Layer], count: int
    ) -> tuple[Mapping[str, npt.NDArray[Any]], list[list[str]]]:
        """Return the tensors that branches share and their order: part k holds what level k adds."""
        tensors: dict[str, npt.NDArray[Any]] = {}
        parts: list[list[str]] = [[] for _ in range(count)]
        for layer in layers:
            coded = self.coded.get(layer.position)
            names = tensor_names(layer, coded)
            if coded is None:
                arrays: list[npt.NDArray[Any]] = [layer.table, _by_level(layer, count)]
            else:
                arrays = [coded.table, *coded.segments]
            for place, (name, array) in enumerate(zip(names, arrays, strict=True)):
                tensors[name] = array
                parts[max(0, place - 1)].append(name)
        return tensors, parts


def _same(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()


def _by_level(layer: Layer, count: int) -> npt.NDArray[np.float32]:
    """Return depthwise weights (levels, channels, taps), or (1, ...) where no level differs."""
    every = np.stack([np.where(layer.index <= level, layer.weight, 0) for level in range(count)]).astype(
        np.float32
    )
    return every[:1] if all(np.array_equal(every[0], other) for other in every[1:]) else every
