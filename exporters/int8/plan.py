"""The layers of a network in 8 bits, ready to be written for any levels.

Ranges are taken from the float network of each level on real inputs; weights are coded once for all levels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any, Final

import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.int8.branch import (
    branch8,
    layer_tensors,
    state_name,
    steps_name,
    steps_table,
)
from elsa_edge.exporters.int8.candidates import Mix
from elsa_edge.exporters.int8.code import Coded8, code_layer8, code_recurrent8, why_not8
from elsa_edge.exporters.int8.graft import coding_nodes, quantise_like
from elsa_edge.exporters.int8.lay_out import Codes, lay_out
from elsa_edge.exporters.int8.observe import Observed, observe
from elsa_edge.exporters.int8.states import state_steps, watched_states, with_states
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.spans import same_outside, spans_of
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.quantise.steps import Steps

__all__ = ["Plan8"]

Array = npt.NDArray[Any]

# What moves values and computes none
_MOVING: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"})


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
        cells = [str(self._nodes[p].name) for p, layer in self._found.items() if layer.cell is not None]
        self._observed = observe(
            [with_states(model, cells) for model in self.models], self._watched(), samples
        )
        self._left_out: frozenset[int] = frozenset()
        self._code()

    @property
    def layers(self) -> dict[int, Layer]:
        """Position -> layer, of those that are in 8 bits now."""
        return {p: layer for p, layer in self._found.items() if p not in self._left_out}

    @property
    def left_out(self) -> frozenset[str]:
        """The names of the nodes that 8-bit kernels could compute but shall not."""
        return self.nodes_of(self._left_out)

    def names_of(self, positions: Collection[int]) -> list[str]:
        """Return the names of layers, sorted."""
        return sorted(self._found[position].name for position in positions)

    def nodes_of(self, positions: Collection[int]) -> frozenset[str]:
        """Return the names of the nodes of layers."""
        return frozenset(str(self._nodes[position].name) for position in positions)

    def leave_out(self, positions: Collection[int], reason: str) -> None:
        """Let some layers stay in float32."""
        for position in positions:
            self.refused[self._found[position].name] = reason
        self._left_out |= frozenset(positions)
        self._code()

    def only(self, positions: Collection[int]) -> Plan8:
        """Return a plan in which no other layers than these are in 8 bits; this one stays as it is."""
        alone = copy(self)
        alone.refused = dict(self.refused)
        alone.leave_out(self.layers.keys() - set(positions), "another layer is measured")
        return alone

    def ends(self) -> frozenset[int]:
        """Return the first and the last layer, which cost the most accuracy a multiply-add."""
        positions = sorted(self.layers)
        return frozenset({positions[0], positions[-1]} if positions else ())

    def linked(self) -> list[frozenset[int]]:
        """Return positions that are all nested or all dense: products with rows of codes between them."""
        groups: list[frozenset[int]] = []
        for position in sorted(self.layers):
            before = self._nodes[position].inputs[0]
            producer = None if before not in self._codes.rows else before.producer()
            near = [
                group for group in groups if any(self._nodes[self._found[p].end] is producer for p in group)
            ]
            groups = [group for group in groups if group not in near]
            groups.append(frozenset({position}).union(*near))
        return groups

    def has_others(self, dense: ir.Model) -> bool:
        """Tell whether anything beside these layers and what lies in codes between them is in 8 bits in `dense`."""
        ours = {p for layer in self.layers.values() for p in (layer.position, *layer.absorbed)}
        names = {self._nodes[p].name for p in ours} | self.left_out
        names |= {node.name for node in self._codes.between}
        return any(node.name not in names for node in coding_nodes(dense) if node.op_type not in _MOVING)

    def spans(self, levels: Sequence[int], mixes: Sequence[Mix]) -> list[tuple[int, int]]:
        """Return (first, last) levels that one branch can serve: nothing but the nested layers differs between them.

        Args:
            levels: Rising numbers; only neighbours share a branch.
            mixes: Of every level.
        """

        def alike(before: int, level: int) -> bool:
            chosen = [self._found[p] for p in mixes[level].nested]
            inside = {p for layer in chosen for p in (layer.position, *layer.absorbed)}
            return mixes[before] == mixes[level] and same_outside(
                self.models[before], self.models[level], inside
            )

        return spans_of(levels, alike)

    def branch(self, last_level: int, nested: frozenset[int], dense: ir.Model | None = None) -> ir.Model:
        """Return the network that serves the levels of a span up to its last.

        Args:
            last_level: Its densest level.
            nested: Positions of the layers that our kernels compute; of what is `linked`, all or none.
            dense: The dense 8-bit network of that level, which has the other layers; None leaves them in float.
        """
        model = self.models[last_level].clone()
        # The clone has other nodes and values: their forms are found again, in the same way.
        nodes = list(model.graph)
        codes = lay_out(nodes, {p: self._found[p] for p in nested})
        codes.like = lay_out(
            nodes, self.layers
        ).like  # the steps of a value do not depend on what computes it
        made = branch8(model, {p: self._found[p] for p in nested}, self._coded, codes, last_level)
        if dense is not None:
            quantise_like(made, dense, self.left_out)
        return made

    def tensors(self) -> tuple[dict[str, Array], list[list[str]]]:
        """Return the tensors that branches share and their order: part k holds what level k adds."""
        tensors: dict[str, Array] = {}
        parts: list[list[str]] = [[] for _ in range(self.count)]
        for name, steps in self._steps.items():
            tensors[name] = steps_table(steps)
            parts[0].append(name)
        for position, layer in self.layers.items():
            coded = self._coded[position]
            if coded.state:
                tensors[state_name(layer)] = steps_table(coded.state)
                parts[0].append(state_name(layer))
            halves = [coded] if coded.before is None else [coded.before, coded]
            for product, stored in zip(layer.products, halves, strict=True):
                for place, (name, array) in enumerate(layer_tensors(product, stored).items()):
                    tensors[name] = array
                    parts[max(0, place - 2)].append(name)
        return tensors, parts

    def _watched(self) -> dict[str, int]:
        watched: dict[str, int] = {}
        for layer in self._found.values():
            axis = -1 if layer.geometry is None else 1
            node = self._nodes[layer.position]
            values = [node.inputs[0], None if layer.cell else self._nodes[layer.end].outputs[0]]
            if layer.residual is not None:
                values.append(self._nodes[layer.residual[0]].inputs[layer.residual[1]])
            names = [str(value.name) for value in values if value is not None]
            for name in [*names, *(watched_states(node) if layer.cell else [])]:
                watched.setdefault(name, axis)
        for value in lay_out(self._nodes, self._found).made:
            watched.setdefault(str(value.name), 1)
        return watched

    def _code(self) -> None:
        """Code the layers; those whose numbers the kernels do not take stay in float32, until all fit."""
        while True:
            layers = self.layers
            codes = lay_out(self._nodes, layers)
            coder = _Coder(self._nodes, self._observed, codes, self.count)
            self._codes = codes
            self._coded: dict[int, Coded8] = {p: coder.code(layer) for p, layer in layers.items()}
            coder.cover(codes.made)
            self._steps = coder.steps
            odd = {p for p, coded in self._coded.items() if not coded.fits}
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
        if layer.cell is not None:
            state = state_steps(self._nodes[layer.position], self._observed)
            means = self._observed.means(str(source.name))
            return code_recurrent8(layer, self._levels, self._of(source), state, means=means)
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

    def cover(self, values: Sequence[ir.Value]) -> None:
        """Find the steps of values that no layer reads or makes."""
        for value in values:
            self._of(value)

    def _of(self, value: ir.Value) -> list[Steps]:
        value = self._codes.root(value)
        name = steps_name(value)
        if name not in self.steps:
            self.steps[name] = self._observed.steps(str(value.name))
        return self.steps[name]
