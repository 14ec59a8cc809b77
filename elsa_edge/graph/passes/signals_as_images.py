"""Compute signals as images of one row, so that what is written for images serves them:

    conv(x, W) = squeeze(conv(unsqueeze(x), unsqueeze(W)))          x (N, C, T) -> (N, C, 1, T)

A convolution over a signal with constant weights begins a stretch; what follows and treats each channel or number alike
goes on with it, so that a signal becomes an image once and a signal again once.

requires  the rank of a signal is known
ensures   such a convolution is left only where that rank is not known; outputs are the same numbers
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.passes.refusals import refuse
from elsa_edge.graph.passes.rewrite import Rewrite

__all__ = ["SignalsAsImages", "widen_window"]

_SIGNAL_RANK: Final = 3  # (N, C, T)
_ROW_AXIS: Final = 2
_BEGIN: Final = frozenset({"Conv", "ConvTranspose"})
_WINDOWS: Final = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool"})
# Their further inputs are numbers a channel, or bounds, whatever the rank of the first.
_BY_CHANNEL: Final = _WINDOWS | {
    "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "InstanceNormalization", "Clip",
}  # fmt: skip
_BY_NUMBER: Final = frozenset({
    "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Softplus",
    "Softsign", "Gelu", "Mish", "Erf", "Abs", "Neg", "Exp", "Sqrt", "Identity", "Dropout", "Add", "Sub", "Mul", "Div",
    "Max", "Min", "Sum",
})  # fmt: skip
# A window's attributes: what stands for the row of a signal, before the number of its time axis.
_OF_THE_ROW: Final = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "output_shape": 1}


class SignalsAsImages(Rewrite):
    """Make images of one row of all signals that are convolved with constant weights."""

    def ensures(self, model: ir.Model) -> None:
        """Refuse a graph in which a convolution over a signal is left that nobody was told of."""
        super().ensures(model)
        left = sum(_begins(node) for node in model.graph)
        if left != self._refused:
            raise ir.passes.PostconditionError(
                f"SignalsAsImages left {left} convolutions over signals and refused {self._refused}"
            )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any signal became an image."""
        self._refused = 0
        graph = model.graph
        # Signal -> the same as an image.
        images: dict[ir.Value, ir.Value] = {}
        for node in list(graph):
            if node.domain not in ("", "ai.onnx") or len(node.outputs) == 0:
                continue
            begins = _begins(node)
            if begins and _rank(node.inputs[0]) != _SIGNAL_RANK:
                refuse("compute signals as images", node, "the rank of its signal is not known")
                self._refused += 1
            elif begins or _goes_on(node, images):
                _rewrite(graph, node, images)
        for signal in images:
            maker = signal.producer()
            if (
                maker is not None
                and maker.op_type == "Squeeze"
                and not signal.uses()
                and not signal.is_graph_output()
            ):
                graph.remove(maker, safe=True)
        return ir.passes.PassResult(model, bool(images))


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _begins(node: ir.Node) -> bool:
    """Tell whether a node convolves a signal with constant weights."""
    if node.op_type not in _BEGIN or node.domain not in ("", "ai.onnx"):
        return False
    weight = node.inputs[1]
    return (
        weight is not None
        and weight.const_value is not None
        and len(weight.const_value.shape) == _SIGNAL_RANK
    )


def _goes_on(node: ir.Node, images: dict[ir.Value, ir.Value]) -> bool:
    """Tell whether a node treats an image of one row as it treats the signal, and some input is one already."""
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return False
    if node.op_type in _BY_CHANNEL:
        return node.inputs[0] in images
    if node.op_type not in _BY_NUMBER:
        return False
    signals = [value for value in node.inputs if value is not None and value.const_value is None]
    known = all(_rank(value) == _SIGNAL_RANK for value in signals)
    return known and any(value in images for value in signals)


def _rewrite(graph: ir.Graph, node: ir.Node, images: dict[ir.Value, ir.Value]) -> None:
    """Let a node read and make images; in place."""
    moved = node.inputs[:1] if node.op_type in _BY_CHANNEL else node.inputs
    for place, value in enumerate(moved):
        if value is None:
            continue
        if value.const_value is None:
            node.replace_input_with(place, _image(graph, node, value, images))
        elif len(value.const_value.shape) > 1:
            node.replace_input_with(place, _with_row(graph, value))
    if node.op_type in _BEGIN:
        weight = node.inputs[1]
        assert weight is not None
        node.replace_input_with(1, _with_row(graph, weight))
    if node.op_type in _WINDOWS:
        widen_window(node)
    _make_image(graph, node, images)


def _image(graph: ir.Graph, node: ir.Node, signal: ir.Value, images: dict[ir.Value, ir.Value]) -> ir.Value:
    """Return a signal as an image, made before `node` where there is none yet."""
    if signal not in images:
        image = _value(graph, f"{signal.name}.image", signal, _shape_with_row(signal))
        graph.insert_before(node, ir.node("Unsqueeze", [signal, _axes(graph)], outputs=[image]))
        images[signal] = image
    return images[signal]


def _make_image(graph: ir.Graph, node: ir.Node, images: dict[ir.Value, ir.Value]) -> None:
    """Let the output of `node` be an image, and a signal of its old name be made of it."""
    image = node.outputs[0]
    signal = ir.Value(name=image.name, shape=image.shape, type=image.type)
    image.replace_all_uses_with(signal, replace_graph_outputs=True)
    image.name, image.shape = fresh_name(graph, f"{signal.name}.image"), _shape_with_row(signal)
    graph.insert_after(node, ir.node("Squeeze", [image, _axes(graph)], outputs=[signal]))
    images[signal] = image


def _with_row(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Return a constant with an axis for the row before its last one."""
    assert value.const_value is not None
    array = np.asarray(value.const_value.numpy())
    return constant(graph, f"{value.name}.image", np.expand_dims(array, -2))


def widen_window(node: ir.Node) -> None:
    """Give a window over a signal its size, steps and padding along the row of an image; in place."""
    for name, along in _OF_THE_ROW.items():
        if name in node.attributes:
            node.attributes[name] = ir.AttrInt64s(name, [along, *node.attributes[name].as_ints()])
    if "pads" in node.attributes:
        begin, end = node.attributes["pads"].as_ints()
        node.attributes["pads"] = ir.AttrInt64s("pads", [0, begin, 0, end])


def _shape_with_row(signal: ir.Value) -> ir.Shape | None:
    if signal.shape is None:
        return None
    sizes = list(signal.shape)
    return ir.Shape([*sizes[:_ROW_AXIS], 1, *sizes[_ROW_AXIS:]])


def _value(graph: ir.Graph, wish: str, like: ir.Value, shape: ir.Shape | None) -> ir.Value:
    return ir.Value(name=fresh_name(graph, wish), shape=shape, type=like.type)


def _axes(graph: ir.Graph) -> ir.Value:
    name = "elsa_edge.row_axis"
    return graph.initializers.get(name) or constant(graph, name, np.array([_ROW_AXIS], np.int64))
