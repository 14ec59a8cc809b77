"""The layers of a network in 8 bits, ready to be written for any levels.

Ranges are taken from the float network of each level on real inputs; weights are coded once for all levels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.int8.branch import branch8, layer_tensors, steps_name, steps_table
from elsa_edge.exporters.int8.code import Coded8, code_layer8, why_not8
from elsa_edge.exporters.int8.lay_out import Codes, lay_out
from elsa_edge.exporters.int8.observe import Observed, observe
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.spans import same_outside, spans_of
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.quantise.steps import Steps

__all__ = ["Plan8"]

Array = npt.NDArray[Any]


class Plan8:
    """The layers of a network and their codes.

    Args:
        graph: The canonical graph.
        samples: Calibration inputs.

    Attributes:
        models: The float network of each level; BatchNorm stays in it.
        refused: Layer -> why it stays in float32.
    """

    def __init__(self, graph: CanonicalGraph, samples: Mapping[str, Array]) -> None:
        self.graph = graph
        self.count = len(graph.ladder)
        self.models = level_models(graph)
        found, self.refused = find_layers(self.models)
        self._found: dict[int, Layer] = {}
        for layer in found:
            reason = why_not8(layer)
            if reason is None:
                self._found[layer.position] = layer
            else:
                self.refused[layer.name] = reason
        self._nodes = list(self.models[-1].graph)
        self._observed = observe(self.models, self._watched(), samples)
        self._left_out: frozenset[int] = frozenset()
        self._code()

    @property
    def layers(self) -> dict[int, Layer]:
        """Position -> layer, of those that are in 8 bits now."""
        return {p: layer for p, layer in self._found.items() if p not in self._left_out}

    @property
    def names(self) -> list[str]:
        """The names of the layers that are in 8 bits now, sorted."""
        return sorted(layer.name for layer in self.layers.values())

    @property
    def nodes(self) -> frozenset[str]:
        """The names of the nodes that are in 8 bits now."""
        return frozenset(str(self._nodes[position].name) for position in self.layers)

    def leave_out(self, positions: Collection[int], reason: str) -> None:
        """Let some layers stay in float32."""
        for position in positions:
            self.refused[self._found[position].name] = reason
        self._left_out |= frozenset(positions)
        self._code()

    def ends(self) -> frozenset[int]:
        """Return the first and the last layer, which cost the most accuracy a multiply-add."""
        positions = sorted(self.layers)
        return frozenset({positions[0], positions[-1]} if positions else ())

    def spans(self, levels: Sequence[int]) -> list[tuple[int, int]]:
        """Return (first, last) levels that one branch can serve: nothing but the layers differs between them.

        Args:
            levels: Rising numbers; only neighbours share a branch.
        """
        inside = {p for layer in self.layers.values() for p in (layer.position, *layer.absorbed)}
        return spans_of(levels, lambda a, b: same_outside(self.models[a], self.models[b], inside))

    def branch(self, last_level: int) -> ir.Model:
        """Return the network that serves the levels of a span up to its last."""
        model = self.models[last_level].clone()
        # The clone has other nodes and values: their forms are found again, in the same way.
        codes = lay_out(list(model.graph), self.layers)
        return branch8(model, self.layers, self._coded, codes, last_level)

    def tensors(self) -> tuple[dict[str, Array], list[list[str]]]:
        """Return the tensors that branches share and their order: part k holds what level k adds."""
        tensors: dict[str, Array] = {}
        parts: list[list[str]] = [[] for _ in range(self.count)]
        for name, steps in self._steps.items():
            tensors[name] = steps_table(steps)
            parts[0].append(name)
        for position, layer in self.layers.items():
            for place, (name, array) in enumerate(layer_tensors(layer, self._coded[position]).items()):
                tensors[name] = array
                parts[max(0, place - 2)].append(name)
        return tensors, parts

    def _watched(self) -> dict[str, int]:
        watched: dict[str, int] = {}
        for layer in self._found.values():
            axis = -1 if layer.geometry is None else 1
            values = [self._nodes[layer.position].inputs[0], self._nodes[layer.end].outputs[0]]
            if layer.residual is not None:
                values.append(self._nodes[layer.residual[0]].inputs[layer.residual[1]])
            for value in values:
                assert value is not None
                watched.setdefault(str(value.name), axis)
        return watched

    def _code(self) -> None:
        """Code the layers; those whose numbers the kernels do not take stay in float32, until all fit."""
        while True:
            layers = self.layers
            codes = lay_out(self._nodes, layers)
            coder = _Coder(self._nodes, self._observed, codes, self.count)
            self._coded: dict[int, Coded8] = {p: coder.code(layer) for p, layer in layers.items()}
            self._steps = coder.steps
            odd = {p for p, coded in self._coded.items() if not coded.tables.fits}
            if not odd:
                return
            for position in odd:
                self.refused[self._found[position].name] = "its ranges leave what 8-bit kernels take"
            self._left_out |= odd


class _Coder:
    """Codes layers; keeps the steps of every value that has any."""

    def __init__(self, nodes: Sequence[ir.Node], observed: Observed, codes: Codes, levels: int) -> None:
        self._nodes, self._observed, self._codes, self._levels = nodes, observed, codes, levels
        self.steps: dict[str, list[Steps]] = {}

    def code(self, layer: Layer) -> Coded8:
        source, result = self._nodes[layer.position].inputs[0], self._nodes[layer.end].outputs[0]
        assert source is not None
        is_float = layer.geometry is None and result not in self._codes.rows
        residual = None
        if layer.residual is not None:
            other = self._nodes[layer.residual[0]].inputs[layer.residual[1]]
            assert other is not None
            residual = self._of(other)
        return code_layer8(
            layer,
            self._levels,
            self._of(source),
            None if is_float else self._of(result),
            residual=residual,
            means=self._observed.means(str(source.name)),
        )

    def _of(self, value: ir.Value) -> list[Steps]:
        while value in self._codes.like:
            value = self._codes.like[value]
        name = steps_name(value)
        if name not in self.steps:
            self.steps[name] = self._observed.steps(str(value.name))
        return self.steps[name]
