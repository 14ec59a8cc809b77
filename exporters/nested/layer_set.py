"""The layers of a network that nested kernels can compute, with their segments: what is chosen from and written.

choice[level] = positions of the layers that nested kernels compute; empty for ONNX Runtime's dense ones everywhere
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.store import Coded, code_layer
from elsa_edge.exporters.nested.stored import Stored
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import CHANNELS_AT_ONCE, at_level
from elsa_edge.graph.passes.drop_dead_channels import kept_channels

__all__ = ["DENSE", "KernelChoice", "LayerSet", "layer_set_of"]

KernelChoice = frozenset[int]
DENSE: KernelChoice = frozenset()


@dataclass(frozen=True)
class LayerSet:
    """The layers of a network and their segments, ready to be written with any choice.

    Attributes:
        graph: The canonical graph.
        models: The network of every level, sparsest first.
        layers: What nested kernels can compute, in order.
        coded: Position -> segments; depthwise layers have none.
        form: How their weights are stored.
    """

    graph: CanonicalGraph
    models: tuple[ir.Model, ...]
    layers: tuple[Layer, ...]
    coded: Mapping[int, Coded]
    form: Stored = Stored.FLOAT32
    _dense: dict[tuple[int, bool], ir.Model] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """How many levels the ladder has."""
        return len(self.models)

    @property
    def nodes(self) -> list[ir.Node]:
        """The nodes of the network, in order; a layer's position is its place here."""
        return list(self.models[-1].graph)

    @property
    def every(self) -> KernelChoice:
        """The choice of nested kernels wherever there is one."""
        return frozenset(layer.position for layer in self.layers)

    def chosen(self, choice: KernelChoice) -> list[Layer]:
        """Return the layers of a choice, in order."""
        return [layer for layer in self.layers if layer.position in choice]

    def names(self, choice: KernelChoice) -> list[str]:
        """Return the names of the layers of a choice, sorted."""
        return sorted(layer.name for layer in self.chosen(choice))

    def smaller_when_dense(self, level: int) -> bool:
        """Tell whether the plain network of a level can be smaller than the densest one: whole outputs are zero.

        Smaller is not always faster, although numbers of channels stay as divisible as they were.
        """
        living = (
            np.logical_or.reduce(layer.index <= level, axis=1)
            for layer in self.layers
            if layer.cell is None  # states keep their sizes
        )
        return any(not kept_channels(np.asarray(rows), CHANNELS_AT_ONCE).all() for rows in living)

    def dense(self, level: int, *, keep_dead: bool) -> ir.Model:
        """Return the plain network of one level without a level input, made once; callers clone what they change.

        Args:
            level: The level.
            keep_dead: Keep channels that are zero there.
        """
        key = (level, keep_dead)
        if key not in self._dense:
            self._dense[key] = at_level(self.graph, level, drop_dead_channels=not keep_dead)
        return self._dense[key]


def layer_set_of(graph: CanonicalGraph, form: Stored = Stored.FLOAT32, *, narrow: bool = False) -> LayerSet:
    """Find the layers of a network and write their segments.

    Args:
        graph: The canonical graph; it is not modified.
        form: How the weights are stored; half floats are multiplied as half floats, too.
        narrow: Whether the processor's vectors are of 8 floats, where that is known.
    """
    models = level_models(graph)
    layers, _ = find_layers(models)
    coded = {
        layer.position: code_layer(layer, len(models), form, narrow=narrow)
        for layer in layers
        if layer.kind != "depthwise"
    }
    return LayerSet(graph, models, tuple(layers), coded, form)
