"""What comes after a linear node and can be computed with it: constants, BatchNorm, a residual, an activation.

    y = act(sum * scale + bias + residual)      each step below takes what was found so far and returns more, or None

Nothing here changes a graph or its arguments.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.nested.networks import Networks, array_of, image_of, rank_of
from elsa_edge.nested_format.activations import Activation, ActivationKind

__all__ = ["Followed", "follow"]

_HARD_SIGMOID_SLOPE: Final = 1 / 6
_NOTHING: Final = Activation()


@dataclass(frozen=True)
class Followed:
    """A linear node with some of what comes after it.

    Attributes:
        end: Position of the node whose output is produced.
        table: (levels, 2, rows) float64 scale and bias of the sum.
        absorbed: Positions of the nodes that are computed as well.
        residual: (position, input number) where a value to add is read, if any.
        activation: What is done last.
    """

    end: int
    table: npt.NDArray[np.float64]
    absorbed: tuple[int, ...] = ()
    residual: tuple[int, int] | None = None
    activation: Activation = _NOTHING

    def past(self, *positions: int) -> Followed:
        """Return the same with further nodes absorbed, the last of which makes the output."""
        return replace(self, absorbed=(*self.absorbed, *positions), end=positions[-1])


def follow(start: Followed, networks: Networks, taken: AbstractSet[int], *, image: bool) -> Followed:
    """Return as much as one kernel can compute after a linear node.

    Args:
        start: The node itself, with its own scale and bias.
        networks: The networks of all levels.
        taken: Positions that belong to other layers already.
        image: Whether the node is a convolution; a product takes no residual.
    """
    after = _After(networks, taken, image)
    found = start
    while (further := after.bias(found) or after.norm(found)) is not None:
        found = further
    if image:
        found = after.residual(found) or found
    return after.clip(found) or after.gate(found) or found


@dataclass(frozen=True)
class _After:
    """The steps, and what all of them look at."""

    networks: Networks
    taken: AbstractSet[int]
    image: bool

    def _value(self, found: Followed) -> ir.Value:
        return self.networks.nodes[found.end].outputs[0]

    def _next(self, found: Followed, *types: str) -> tuple[int, ir.Node, int] | None:
        """Return position, node and input number of the only reader of what was found, where it is of these types."""
        use = self.networks.only_use(self._value(found))
        if use is None or use[0].op_type not in types or use[0].domain not in ("", "ai.onnx"):
            return None
        place = self.networks.place(use[0])
        return None if place is None or place in self.taken else (place, *use)

    def bias(self, found: Followed) -> Followed | None:
        """Add a constant per row."""
        following = self._next(found, "Add")
        if following is None:
            return None
        place, node, number = following
        constants = self.networks.constants(place, 1 - number)
        rows, rank = found.table.shape[2], rank_of(node.outputs[0])
        if constants is None or rank is None or rank != rank_of(self._value(found)):
            return None
        allowed = ((rows, 1, 1), (1, rows, 1, 1)) if self.image else ((rows,), (1, rows))
        if constants[0].shape not in allowed:
            return None
        table = found.table.copy()
        table[:, 1] += [c.reshape(-1) for c in constants]
        return replace(found, table=table).past(place)

    def norm(self, found: Followed) -> Followed | None:
        """Fold a BatchNorm into scale and bias."""
        following = self._next(found, "BatchNormalization")
        if following is None or (not self.image and rank_of(self._value(found)) != 2):
            return None
        place, node, _ = following
        if any(o.uses() or o.is_graph_output() for o in node.outputs[1:]):
            return None
        parts = [self.networks.constants(place, number) for number in range(1, 5)]
        if any(part is None for part in parts):
            return None
        gamma, beta, mean, variance = (np.asarray(part, np.float64) for part in parts)  # (levels, rows)
        factor = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
        scale, bias = found.table[:, 0], found.table[:, 1]
        table = np.stack([scale * factor, (bias - mean) * factor + beta], axis=1)
        return replace(found, table=table).past(place)

    def residual(self, found: Followed) -> Followed | None:
        """Add another image of the same size: what it is at run time must be certain, the kernel does not broadcast."""
        following = self._next(found, "Add")
        if following is None:
            return None
        place, node, number = following
        other, value = node.inputs[1 - number], self._value(found)
        if other is None or array_of(other) is not None or other.is_graph_input():
            return None
        if image_of(other) is None or image_of(other) != image_of(value):
            return None
        if other.shape is None or value.shape is None or other.shape[0] != value.shape[0]:
            return None
        return replace(found, residual=(place, 1 - number)).past(place)

    def clip(self, found: Followed) -> Followed | None:
        """Take a Relu, a Clip with the same constant bounds at all levels, or a HardSwish."""
        following = self._next(found, "Relu", "Clip", "HardSwish")
        if following is None:
            return None
        place, node, _ = following
        if node.op_type == "HardSwish":
            activation = Activation(ActivationKind.HARD_SWISH)
        elif node.op_type == "Relu":
            activation = Activation.clip(0.0, float("inf"))
        else:
            bounds = [-float("inf"), float("inf")]
            for number in (1, 2):
                if number < len(node.inputs) and node.inputs[number] is not None:
                    constants = self.networks.constants(place, number)
                    if constants is None or len({float(c) for c in constants}) != 1:
                        return None
                    bounds[number - 1] = float(constants[0])
            activation = Activation.clip(*bounds)
        return replace(found, activation=activation).past(place)

    def gate(self, found: Followed) -> Followed | None:
        """Take x * sigmoid(x), and x * hardsigmoid(x) with slope 1/6."""
        value = self._value(found)
        uses = list(value.uses())
        if len(uses) != 2 or value.is_graph_output():
            return None
        gates = [use.node for use in uses if use.node.op_type in ("Sigmoid", "HardSigmoid")]
        products = [use.node for use in uses if use.node.op_type == "Mul"]
        if len(gates) != 1 or len(products) != 1 or gates[0].outputs[0] not in products[0].inputs:
            return None
        gate, product = self.networks.place(gates[0]), self.networks.place(products[0])
        if gate is None or product is None or {gate, product} & self.taken:
            return None
        if self.networks.only_use(gates[0].outputs[0]) is None:
            return None
        hard = gates[0].op_type == "HardSigmoid"
        if hard and not _is_hard_swish(gates[0]):
            return None
        activation = Activation(ActivationKind.HARD_SWISH if hard else ActivationKind.SILU)
        return replace(found, activation=activation).past(gate, product)


def _is_hard_swish(gate: ir.Node) -> bool:
    """Tell whether a HardSigmoid, times its input, is a HardSwish."""
    slope, offset = gate.attributes.get_float("alpha", 0.2), gate.attributes.get_float("beta", 0.5)
    return abs(slope - _HARD_SIGMOID_SLOPE) <= 1e-6 and offset == 0.5
