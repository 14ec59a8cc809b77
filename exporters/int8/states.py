"""How the state of a recurrent layer is coded: for what it is on real inputs, and for what it starts with.

A state that nobody reads has no name, so a copy of the network names it for as long as it is watched.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from elsa_edge.exporters.int8.observe import Observed
from elsa_edge.quantise.steps import Steps, steps_for

__all__ = ["state_steps", "watched_states", "with_states"]

_INITIAL_STATE = 5  # of the inputs of an ONNX node


def watched_states(node: ir.Node) -> list[str]:
    """Return the names of what the state of an LSTM or GRU can be: all its states, and the first where it is given."""
    first = node.inputs[_INITIAL_STATE] if len(node.inputs) > _INITIAL_STATE else None
    return [_states(node)] if first is None else [_states(node), str(first.name)]


def with_states(model: ir.Model, cells: Iterable[str]) -> ir.Model:
    """Return a copy of a network in which all states of the LSTMs and GRUs named `cells` have names."""
    copy, wanted = model.clone(), set(cells)
    for node in copy.graph:
        if node.name in wanted:
            node.outputs[0].name = _states(node)
            node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    return copy


def state_steps(node: ir.Node, observed: Observed) -> list[Steps]:
    """Return how to code the state, one per level.

    The first state is one among many, and still no part of it may be cut: everything after depends on it. So its whole
    range has codes, whatever range serves the states that follow best.
    """
    states, *first = watched_states(node)
    steps = observed.steps(states)
    for name in first:
        steps = [_covering(one, *ends) for one, ends in zip(steps, observed.ranges(name), strict=True)]
    return steps


def _states(node: ir.Node) -> str:
    return node.outputs[0].name or f"{node.name}.states"


def _covering(steps: Steps, low: float, high: float) -> Steps:
    if steps.low <= low and high <= steps.high:
        return steps
    return steps_for(min(steps.low, low), max(steps.high, high))
