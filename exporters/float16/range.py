"""Which layers half floats can compute: what they read and make is watched on real inputs, at every level.

0.004 <= largest magnitude of a value <= 512        then no sum can overflow (nested/stored.py) and no value vanishes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.int8.samples import pieces
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.stored import LARGEST_PIXEL
from elsa_edge.running.onnx_session import Settings, open_session, options_for

__all__ = ["out_of_range"]

Array = npt.NDArray[Any]

# Other inputs than those that were seen may be larger.
_MARGIN: Final = 2.0
# Half floats have steps of 6e-8 at least: a thousandth of this, after a weight of 1/8.
_LEAST: Final = 2.0**-8


def out_of_range(
    models: Sequence[ir.Model], layers: Sequence[Layer], samples: Mapping[str, Array]
) -> dict[int, str]:
    """Return position -> why half floats cannot compute a layer.

    Args:
        models: The network of every level; they are not modified.
        layers: What may be computed in half floats.
        samples: Inputs.
    """
    nodes = list(models[-1].graph)
    values = {layer.position: _around(nodes, layer) for layer in layers}
    largest = _largest(models, {name for names in values.values() for name in names}, samples)
    return {
        position: reason
        for position, names in values.items()
        for reason in [_problem({name: largest[name] for name in names})]
        if reason
    }


def _around(nodes: Sequence[ir.Node], layer: Layer) -> list[str]:
    """Return the names of the values that a layer reads and makes."""
    values = [nodes[layer.position].inputs[0], nodes[layer.end].outputs[0]]
    if layer.residual is not None:
        values.append(nodes[layer.residual[0]].inputs[layer.residual[1]])
    return [str(value.name) for value in values if value is not None]


def _problem(largest: Mapping[str, float]) -> str:
    for name, value in largest.items():
        if not value <= LARGEST_PIXEL / _MARGIN:
            allowed = f"{LARGEST_PIXEL / _MARGIN:g}"
            return f"{name} reaches {value:.3g}, half floats are kept to {allowed} so that no sum overflows"
        if 0 < value < _LEAST:
            return f"{name} reaches {value:.3g} at most, half floats lose what is so small"
    return ""


def _largest(models: Sequence[ir.Model], names: set[str], samples: Mapping[str, Array]) -> dict[str, float]:
    """Return the largest magnitude of each value over all levels; not a number stays not a number."""
    largest = dict.fromkeys(names, 0.0)
    for model in models:
        copy = model.clone()
        inputs = {str(value.name) for value in copy.graph.inputs}
        present = {str(value.name) for value in copy.graph.outputs}
        values = {str(value.name): value for node in copy.graph for value in node.outputs}
        copy.graph.outputs.extend(values[name] for name in sorted(names - inputs - present))
        # All cores: nothing is timed here.
        session = open_session(ir.to_proto(copy).SerializeToString(), options_for(Settings(threads=0)))
        wanted = sorted(names - inputs)
        for feed in pieces(samples, session):
            found = dict(zip(wanted, session.run(wanted, feed), strict=True)) if wanted else {}
            for name, array in (found | {name: feed[name] for name in names & inputs}).items():
                largest[name] = float(np.maximum(largest[name], np.abs(array).max(initial=0.0)))
    return largest
