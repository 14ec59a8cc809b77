"""What cut weights shift, put right at each level of an ONNX network by running it: BatchNorm statistics and biases.

    BatchNormalization   mean, variance  <-  those of its input at this level
    Conv, Gemm, MatMul   bias            <-  bias + (mean of the dense level's output - mean of this level's output)

All places are put right in one run of each level: a probe of the network normalises with what it meets, so that what
lies behind sees inputs that are right already. Nothing is trained; the dense level keeps its own numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.constants import constant
from elsa_edge.graph.oracle import run_model

__all__ = ["Place", "places", "tables"]

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

_PRODUCTS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_BIAS_PLACE: Final = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}
_CHANNELS_SECOND: Final = frozenset({"Conv", "ConvTranspose"})
_FEWEST: Final = 16  # numbers of a channel, below which a variance says nothing


@dataclass(frozen=True)
class Place:
    """A place that is put right.

    Attributes:
        node: Name of the node: a BatchNormalization, a product with a bias of its own, or the Add behind a product.
        names: Initializers that become tables: mean and variance, or the bias.
        axis: Dimension of the channels in what is measured.
        rank: Dimensions of what is measured.
    """

    node: str
    names: tuple[str, ...]
    axis: int
    rank: int

    @property
    def is_norm(self) -> bool:
        """Whether it is a BatchNormalization."""
        return len(self.names) == 2


def places(model: ir.Model) -> list[Place]:
    """Return where a network can be put right: ranks must be known, initializers used by nobody else."""
    return [place for node in model.graph if (place := _place(node)) is not None]


def _place(node: ir.Node) -> Place | None:
    if node.domain not in ("", "ai.onnx") or not node.name:
        return None
    if node.op_type == "BatchNormalization":
        source = node.inputs[0]
        names = [_own(value) for value in node.inputs[3:5]]
        if source is None or source.shape is None or None in names:
            return None
        return Place(node.name, tuple(str(name) for name in names), 1, len(source.shape))
    result = node.outputs[0]
    if result.shape is None:
        return None
    rank = len(result.shape)
    if node.op_type in _BIAS_PLACE and len(node.inputs) > 2 and not _is_normalised(result):
        bias = _own(node.inputs[_BIAS_PLACE[node.op_type]])
        axis = 1 if node.op_type in _CHANNELS_SECOND else rank - 1
        return None if bias is None else Place(node.name, (bias,), axis, rank)
    if node.op_type == "Add" and not _is_normalised(result):
        return _added(node, rank)
    return None


def _added(node: ir.Node, rank: int) -> Place | None:
    """Return the place of a bias that an Add of its own adds to a product."""
    for product, bias in (node.inputs, tuple(reversed(node.inputs))):
        producer = None if product is None else product.producer()
        name = _own(bias)
        if producer is None or producer.op_type not in _PRODUCTS or name is None or len(producer.inputs) > 2:
            continue
        axis = 1 if producer.op_type in _CHANNELS_SECOND else rank - 1
        assert bias is not None
        assert bias.const_value is not None
        shape = bias.const_value.shape.numpy()
        long = [place + rank - len(shape) for place, size in enumerate(shape) if size > 1]
        if long == [axis]:
            return Place(str(node.name), (name,), axis, rank)
    return None


def _own(value: ir.Value | None) -> str | None:
    """Return the name of a float32 initializer that one node uses once, or None."""
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    alone = len(list(value.uses())) == 1 and not value.is_graph_output()
    return value.name if alone and value.dtype == ir.DataType.FLOAT else None


def _is_normalised(value: ir.Value) -> bool:
    """Whether a BatchNormalization follows, which takes away what a bias adds."""
    return any(use.node.op_type == "BatchNormalization" for use in value.uses())


def tables(
    dense: ir.Model, levels: Sequence[ir.Model], found: Sequence[Place], inputs: Arrays
) -> dict[str, Array]:
    """Return name -> `(levels, *shape)` of every initializer that is put right.

    Args:
        dense: The network.
        levels: The same with the weights of each level, sparsest first; an equal one keeps the network's own numbers.
        found: What `places` returned.
        inputs: Real inputs, several samples; they are run at once.
    """
    own = {name: _numbers(dense, name) for place in found for name in place.names}
    biases = [place for place in found if not place.is_norm]
    targets = run_model(_probe(dense, biases, None), inputs) if biases else {}
    rows = [_row(level, found, targets, inputs, own) if level is not dense else own for level in levels]
    return {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in own}


def _row(
    level: ir.Model, found: Sequence[Place], targets: Arrays, inputs: Arrays, own: Arrays
) -> dict[str, Array]:
    measured = run_model(_probe(level, found, targets), inputs)
    row = dict(own)
    for place in found:
        if not place.is_norm:
            shift = targets[_mean(place)] - measured[_mean(place)]
            row[place.names[0]] = own[place.names[0]] + shift.reshape(own[place.names[0]].shape)
        elif measured[_count(place)] >= _FEWEST:
            row |= zip(place.names, (measured[_mean(place)], measured[_variance(place)]), strict=True)
    return row


def _numbers(model: ir.Model, name: str) -> Array:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float32)


def _mean(place: Place) -> str:
    return f"{place.node}/elsa.mean"


def _variance(place: Place) -> str:
    return f"{place.node}/elsa.variance"


def _count(place: Place) -> str:
    return f"{place.node}/elsa.count"


def _probe(model: ir.Model, found: Sequence[Place], targets: Arrays | None) -> ir.Model:
    """Return a copy that answers with what it measures, and goes on with places that are right.

    Args:
        model: The network.
        found: Where to measure.
        targets: Means of the dense network; None measures them, and changes nothing.
    """
    probe = model.clone()
    graph = probe.graph
    nodes = {node.name: node for node in graph}
    outputs: list[ir.Value] = []
    graph.outputs[:] = []
    for place in found:
        node = nodes[place.node]
        if place.is_norm:
            outputs += _measure_norm(graph, node, place)
        else:
            outputs.append(
                _measure_bias(graph, node, place, None if targets is None else targets[_mean(place)])
            )
    graph.outputs.extend(outputs)
    return probe


def _axes(graph: ir.Graph, place: Place) -> ir.Value:
    others = [axis for axis in range(place.rank) if axis != place.axis]
    return constant(graph, f"{place.node}/elsa.axes", np.array(others, np.int64))


def _measure_norm(graph: ir.Graph, node: ir.Node, place: Place) -> Iterator[ir.Value]:
    source = node.inputs[0]
    assert source is not None
    axes = _axes(graph, place)
    made: list[ir.Node] = []

    def add(kind: str, inputs: list[ir.Value], name: str | None = None, **attributes: int) -> ir.Value:
        made.append(ir.node(kind, inputs, attributes))
        if name is not None:
            made[-1].outputs[0].name = name
        return made[-1].outputs[0]

    wide = add("ReduceMean", [source, axes], keepdims=1)
    away = add("Sub", [source, wide])
    mean = add("ReduceMean", [source, axes], _mean(place), keepdims=0)
    variance = add("ReduceMean", [add("Mul", [away, away]), axes], _variance(place), keepdims=0)
    shapes = [add("Size", [value]) for value in (source, mean)]
    count = add("Div", shapes, _count(place))
    graph.insert_before(node, made)
    node.replace_input_with(3, mean)
    node.replace_input_with(4, variance)
    for value, kind in ((mean, ir.DataType.FLOAT), (variance, ir.DataType.FLOAT), (count, ir.DataType.INT64)):
        value.type = ir.TensorType(kind)
        yield value


def _measure_bias(graph: ir.Graph, node: ir.Node, place: Place, target: Array | None) -> ir.Value:
    result = node.outputs[0]
    mean = ir.node("ReduceMean", [result, _axes(graph, place)], {"keepdims": 0})
    mean.outputs[0].name, mean.outputs[0].type = _mean(place), ir.TensorType(ir.DataType.FLOAT)
    graph.insert_after(node, mean)
    if target is not None:
        wide = tuple(-1 if axis == place.axis else 1 for axis in range(place.rank))
        wanted = constant(graph, f"{place.node}/elsa.target", np.asarray(target, np.float32).reshape(wide))
        shape = constant(graph, f"{place.node}/elsa.shape", np.array(wide, np.int64))
        spread = ir.node("Reshape", [mean.outputs[0], shape])
        shift = ir.node("Sub", [wanted, spread.outputs[0]])
        moved = ir.node("Add", [result, shift.outputs[0]])
        graph.insert_after(mean, [spread, shift, moved])
        ir.convenience.replace_all_uses_with(result, moved.outputs[0])
        # The nodes that measure must go on looking at what the layer itself answered.
        mean.replace_input_with(0, result)
        moved.replace_input_with(0, result)
    return mean.outputs[0]
