"""Which channels of a network must stay or go together, and which of them are exactly zero.

Each value with a channel axis (axis 1) belongs to a group; operators that keep channels apart merge the groups of
their inputs and outputs. Beside the group goes a vector: the constant that a channel has everywhere, or NaN where it
varies. A channel is dead when every layer that reads it reads the constant zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.numbers import Numbers

__all__ = ["ChannelGroup", "Cut", "analyse"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """One constant to cut: operand of a node, along an axis, each channel standing for `repeat` entries there."""

    node: ir.Node
    operand: int
    axis: int
    repeat: int = 1


@dataclass
class ChannelGroup:
    """Channels that stay or go together.

    Attributes:
        size: How many channels.
        cuts: Constants to cut when channels go.
        depthwise: Convolutions whose `group` attribute is the number of channels.
        flattened: Reshapes to two dimensions, with the entries that each channel becomes.
        values: The values whose axis 1 is this group.
        zero: Channels that every reader so far reads as exactly zero, bool (channels,).
        needed_by: What needs every channel, a clause; empty where nothing does.
    """

    size: int
    cuts: list[Cut] = field(default_factory=list)
    depthwise: list[ir.Node] = field(default_factory=list)
    flattened: list[tuple[ir.Node, int]] = field(default_factory=list)
    values: list[ir.Value] = field(default_factory=list)
    zero: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    needed_by: str = ""
    has_reader: bool = False

    @property
    def living(self) -> npt.NDArray[np.bool_]:
        """Channels to keep: all of them where something needs them, at least one otherwise."""
        if self.needed_by or not self.has_reader:
            return np.ones(self.size, bool)
        living = ~self.zero
        if not living.any():
            living[0] = True
        return living

    def read(self, constants: Vector) -> None:
        """Note that a layer reads these channels."""
        self.has_reader = True
        self.zero &= constants == 0.0

    def absorb(self, other: ChannelGroup) -> None:
        """Take over what another group holds."""
        self.cuts += other.cuts
        self.depthwise += other.depthwise
        self.flattened += other.flattened
        self.values += other.values
        self.zero &= other.zero
        self.needed_by = self.needed_by or other.needed_by
        self.has_reader |= other.has_reader


@dataclass
class _Channels:
    """What is known of one value: its group, the constant of each channel, entries that a channel has along axis 1."""

    group: int
    constants: Vector
    factor: int = 1


_UNARY: Final[Mapping[str, Callable[[Vector, ir.Node], Vector]]] = {
    "Relu": lambda x, _: np.maximum(x, 0.0),
    "Identity": lambda x, _: x,
    "Dropout": lambda x, _: x,
    "Tanh": lambda x, _: np.tanh(x),
    "Sigmoid": lambda x, _: 1.0 / (1.0 + np.exp(-x)),
    "HardSwish": lambda x, _: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "LeakyRelu": lambda x, node: np.where(x < 0, x * _float(node, "alpha", 0.01), x),
    "Neg": lambda x, _: -x,
    "Abs": lambda x, _: np.abs(x),
    "Sqrt": lambda x, _: np.sqrt(x),
    # Only whether the result is zero matters: both vanish at zero and nowhere else that can be known here.
    "Gelu": lambda x, _: np.where(x == 0.0, 0.0, np.nan),
    "Mish": lambda x, _: np.where(x == 0.0, 0.0, np.nan),
}


def _float(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


class _Analysis:
    """One walk over the graph in topological order."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.parents: list[int] = []
        self.groups: list[ChannelGroup] = []
        self.known: dict[ir.Value, _Channels] = {}

    def root(self, group: int) -> int:
        while self.parents[group] != group:
            group = self.parents[group]
        return group

    def group_of(self, value: ir.Value) -> ChannelGroup:
        return self.groups[self.root(self.known[value].group)]

    def new(self, value: ir.Value, constants: Vector) -> None:
        size = len(constants)
        self.parents.append(len(self.groups))
        self.groups.append(ChannelGroup(size, values=[value], zero=np.ones(size, bool)))
        self.known[value] = _Channels(len(self.groups) - 1, constants)

    def join(self, value: ir.Value, source: ir.Value, constants: Vector, factor: int | None = None) -> None:
        """Let `value` have the channels of `source`."""
        channels = self.known[source]
        self.known[value] = _Channels(
            channels.group, constants, channels.factor if factor is None else factor
        )
        self.group_of(value).values.append(value)

    def merge(self, a: ir.Value, b: ir.Value) -> None:
        keep, gone = self.root(self.known[a].group), self.root(self.known[b].group)
        if keep != gone:
            self.parents[gone] = keep
            self.groups[keep].absorb(self.groups[gone])

    def pin(self, value: ir.Value | None, reason: str) -> None:
        """Keep every channel of a value."""
        if value is not None and value in self.known:
            group = self.group_of(value)
            group.needed_by = group.needed_by or reason

    def visit(self, node: ir.Node) -> None:
        handled = node.domain in ("", "ai.onnx") and self._visit_known(node)
        if not handled:
            for value in node.inputs:
                self.pin(value, f"{node.op_type} {node.name or '(unnamed)'} reads all of them")
            for attribute in node.attributes.values():  # values that a subgraph captures
                if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
                    self._pin_captured(attribute)

    def _pin_captured(self, attribute: ir.Attr) -> None:
        graphs = [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else attribute.as_graphs()
        for graph in graphs:
            for inner in graph.all_nodes():
                for value in inner.inputs:
                    self.pin(value, "a branch of the network reads all of them")
            for output in graph.outputs:
                self.pin(output, "they are an output of a branch")

    def _visit_known(self, node: ir.Node) -> bool:
        """Handle one node; False when it is not understood and must see every channel."""
        if node.op_type == "Conv":
            return self._conv(node)
        if node.op_type in ("Gemm", "MatMul"):
            return self._linear(node)
        source = node.inputs[0] if node.inputs else None
        if node.op_type in ("Add", "Sub", "Mul", "Div") and len(node.inputs) == 2:
            return self._binary(node)
        if source is None or source not in self.known:
            return False
        constants = self.known[source].constants
        if node.op_type in _UNARY:
            with np.errstate(over="ignore", invalid="ignore"):
                self.join(node.outputs[0], source, _UNARY[node.op_type](constants, node))
            return True
        if node.op_type == "Clip":
            bounds = [self.numbers.get(value) if value is not None else None for value in node.inputs[1:3]]
            if any(
                value is not None and bound is None
                for value, bound in zip(node.inputs[1:3], bounds, strict=True)
            ):
                return False
            low, high = [None if b is None else float(b) for b in (*bounds, None, None)][:2]
            self.join(
                node.outputs[0],
                source,
                np.clip(constants, low, high) if (low, high) != (None, None) else constants,
            )
            return True
        if node.op_type == "BatchNormalization" and not any(o.uses() for o in node.outputs[1:]):
            return self._batch_norm(node, source, constants)
        return self._spatial(node, source, constants)

    def _conv(self, node: ir.Node) -> bool:
        source, weight = node.inputs[0], self.numbers.get(node.inputs[1])
        bias_value = node.inputs[2] if len(node.inputs) > 2 else None
        bias = self.numbers.get(bias_value)
        if source is None or weight is None or (bias_value is not None and bias is None):
            return False
        group = _int(node, "group", 1)
        out = node.outputs[0]
        dead_rows = ~weight.reshape(len(weight), -1).any(axis=1)
        rows = np.where(dead_rows, 0.0 if bias is None else bias.astype(np.float64), np.nan)
        operands = (1,) if bias_value is None else (1, 2)
        if group == 1:
            self.new(out, rows)
            self.group_of(out).cuts += [Cut(node, operand, 0) for operand in operands]
            self._reader(node, source, operand=1, axis=1)
            return True
        if (
            group == len(weight)
            and weight.shape[1] == 1
            and source in self.known
            and self.known[source].factor == 1
        ):
            entering = self.known[source].constants
            silent = np.where(entering == 0.0, 0.0 if bias is None else bias.astype(np.float64), np.nan)
            self.join(out, source, np.where(dead_rows, rows, silent))
            joined = self.group_of(out)
            joined.cuts += [Cut(node, operand, 0) for operand in operands]
            joined.depthwise.append(node)
            return True
        grouped = f"{node.name or 'a convolution'} computes in {group} groups"
        self.new(out, rows)
        self.pin(out, grouped)
        self.pin(source, grouped)
        return True

    def _reader(self, node: ir.Node, source: ir.Value, operand: int, axis: int) -> None:
        if source in self.known:
            channels, group = self.known[source], self.group_of(source)
            group.read(channels.constants)
            group.cuts.append(Cut(node, operand, axis, channels.factor))

    def _linear(self, node: ir.Node) -> bool:
        """Gemm without transA, or MatMul with a constant matrix on two-dimensional activations."""
        source, weight = node.inputs[0], self.numbers.get(node.inputs[1])
        if source is None or weight is None or weight.ndim != 2 or _int(node, "transA", 0):
            return False
        if source.shape is None or len(source.shape) != 2:
            return False
        transposed = node.op_type == "Gemm" and _int(node, "transB", 0) == 1  # (out, in)
        matrix = weight if transposed else weight.T
        bias_value = node.inputs[2] if len(node.inputs) > 2 else None
        bias = self.numbers.get(bias_value)
        if bias_value is not None and (bias is None or bias.ndim != 1 or len(bias) != len(matrix)):
            return False
        offset = (
            np.zeros(len(matrix)) if bias is None else bias.astype(np.float64) * _float(node, "beta", 1.0)
        )
        out = node.outputs[0]
        self.new(out, np.where(matrix.any(axis=1), np.nan, offset))
        cuts = [Cut(node, 1, 0 if transposed else 1)] + ([] if bias_value is None else [Cut(node, 2, 0)])
        self.group_of(out).cuts += cuts
        self._reader(node, source, operand=1, axis=1 if transposed else 0)
        return True

    def _binary(self, node: ir.Node) -> bool:
        a, b = node.inputs
        if a is None or b is None:
            return False
        combine: Callable[[Any, Any], Any] = {
            "Add": np.add,
            "Sub": np.subtract,
            "Mul": np.multiply,
            "Div": np.divide,
        }[node.op_type]
        out = node.outputs[0]
        if a in self.known and b in self.known:
            left, right = self.known[a], self.known[b]
            if (
                len(left.constants) != len(right.constants)
                or left.factor != right.factor
                or not _same_axes(a, b)
            ):
                return False
            with np.errstate(all="ignore"):
                constants = combine(left.constants, right.constants)
            if node.op_type == "Mul":  # zero times anything finite
                constants = np.where((left.constants == 0.0) | (right.constants == 0.0), 0.0, constants)
            self.merge(a, b)
            self.join(out, a, constants)
            return True
        known, other = (a, b) if a in self.known else (b, a)
        number = self.numbers.get(other)
        if (
            known not in self.known
            or number is None
            or number.size != 1
            or (node.op_type == "Div" and known is b)
        ):
            return False
        if known.shape is None or number.ndim > len(known.shape):
            return False
        scalar, constants = float(number.reshape(())), self.known[known].constants
        with np.errstate(all="ignore"):
            self.join(out, known, combine(constants, scalar) if known is a else combine(scalar, constants))
        return True

    def _batch_norm(self, node: ir.Node, source: ir.Value, constants: Vector) -> bool:
        parameters = [self.numbers.get(value) for value in node.inputs[1:5]]
        if any(p is None for p in parameters) or self.known[source].factor != 1:
            return False
        gamma, beta, mean, variance = (np.asarray(p, np.float64) for p in parameters)
        scale = gamma / np.sqrt(variance + _float(node, "epsilon", 1e-5))
        # A runtime may sum in another order, so only an exact "all zero" row counts as the constant zero.
        silent = (scale == 0.0) & (beta == 0.0) | ((constants == 0.0) & (mean == 0.0) & (beta == 0.0))
        self.join(node.outputs[0], source, np.where(silent, 0.0, np.nan))
        self.group_of(node.outputs[0]).cuts += [Cut(node, operand, 0) for operand in range(1, 5)]
        return True

    def _spatial(self, node: ir.Node, source: ir.Value, constants: Vector) -> bool:
        """Poolings, means over space and flattening; padding with zeros keeps only the constant zero."""
        only_zero = np.where(constants == 0.0, 0.0, np.nan)
        rank = len(source.shape) if source.shape is not None else 0
        if (
            node.op_type in ("GlobalAveragePool", "GlobalMaxPool", "MaxPool", "AveragePool")
            and len(node.outputs) == 1
        ):
            self.join(node.outputs[0], source, only_zero)
            return True
        if node.op_type == "ReduceMean" and len(node.inputs) > 1:
            axes = self.numbers.get(node.inputs[1])
            if axes is None or rank == 0 or not all(axis % rank >= 2 for axis in axes.reshape(-1).tolist()):
                return False
            self.join(node.outputs[0], source, only_zero)
            return True
        if node.op_type in ("Reshape", "Flatten") and rank >= 2:
            return self._flatten(node, source, constants)
        return False

    def _flatten(self, node: ir.Node, source: ir.Value, constants: Vector) -> bool:
        """(batch, channels, *space) -> (batch, channels * prod(space))."""
        out, channels = node.outputs[0], self.known[source]
        assert source.shape is not None
        space = list(source.shape[2:])
        if out.shape is None or len(out.shape) != 2 or not all(isinstance(size, int) for size in space):
            return False
        factor = channels.factor * int(np.prod([int(str(size)) for size in space], dtype=np.int64))
        if out.shape[1] != len(constants) * factor:
            return False
        if node.op_type == "Flatten":
            if _int(node, "axis", 1) != 1:
                return False
        else:
            target = self.numbers.get(node.inputs[1])
            if target is None or target.reshape(-1)[0] != -1:
                return False
        self.join(out, source, constants, factor)
        if node.op_type == "Reshape":
            self.group_of(out).flattened.append((node, factor))
        return True


def _same_axes(a: ir.Value, b: ir.Value) -> bool:
    """Whether two values have axis 1 as their channel axis under broadcasting: the same rank."""
    return a.shape is not None and b.shape is not None and len(a.shape) == len(b.shape)


def analyse(graph: ir.Graph, numbers: Numbers) -> list[ChannelGroup]:
    """Return the channel groups of a graph.

    Args:
        graph: A graph with shapes on its values (the exporter's are kept).
        numbers: Its constants.
    """
    analysis = _Analysis(numbers)
    for node in graph:
        if all(numbers.get(output) is None for output in node.outputs):
            analysis.visit(node)
    for value in graph.outputs:
        analysis.pin(value, "they are an output of the network")
    roots = {analysis.root(group) for group in range(len(analysis.groups))}
    return [analysis.groups[root] for root in sorted(roots)]
