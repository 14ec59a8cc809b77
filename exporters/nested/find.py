"""Find the layers that nested kernels can compute: from one network a level to weights, level indices and tables.

    y = act(conv(x, W) * scale + bias + residual)      W_k = W where index <= k else 0;  scale, bias: a row a level

The networks of all levels are the same nodes with other constants, so a layer is known by its position. That the
levels are nested is read off the constants themselves: it holds whatever transposed or reshaped them on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.errors import ExportError
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.passes.fold_pad import FoldPad
from elsa_edge.levels import NEVER
from elsa_edge.nested_format.activations import Activation, ActivationKind

__all__ = [
    "Geometry",
    "Layer",
    "array_of",
    "find_layers",
    "level_models",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Geometry:
    """A 2-D convolution over images of known size; pairs are (vertical, horizontal)."""

    in_size: tuple[int, int]
    out_size: tuple[int, int]
    in_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int

    @property
    def keeps_size(self) -> bool:
        """Whether taps are plain offsets in the input: stride 1 and output as large as the input."""
        return self.stride == (1, 1) and self.in_size == self.out_size

    @property
    def input_gap(self) -> int:
        """Border that the input's planes need; with it a depthwise convolution of stride 2 needs no copy."""
        by_rows = self.groups == self.in_channels and self.stride[1] == 2
        return max(self.pads) if self.keeps_size or by_rows else 0

    @property
    def output_gap(self) -> int:
        """Border that the output's planes need for the computation itself."""
        return 0 if self.keeps_size else (self.kernel[1] - 1) * self.dilation[1] // self.stride[1]


@dataclass(frozen=True)
class Layer:
    """One convolution or matrix product with what follows it.

    Attributes:
        position: Of its node in the graph; `absorbed` are the positions of the nodes that it computes as well.
        end: Position of the node whose output it produces.
        kind: "conv", "depthwise" or "matmul".
        weight: (rows, columns) float32, as at the densest level.
        index: (rows, columns) uint8 level index.
        table: (levels, 2, rows) float32 scale and bias.
        residual: (position, input number) where the value to add is read, if any.
    """

    name: str
    position: int
    end: int
    absorbed: tuple[int, ...]
    kind: str
    weight: npt.NDArray[np.float32]
    index: npt.NDArray[np.uint8]
    table: npt.NDArray[np.float32]
    activation: Activation
    residual: tuple[int, int] | None
    geometry: Geometry | None

    @property
    def pixels(self) -> int:
        """Outputs of one row: positions of an image; 1 for a matrix product."""
        return self.geometry.out_size[0] * self.geometry.out_size[1] if self.geometry else 1

    def density(self, level: int) -> float:
        """Return the active fraction of the weight at `level`."""
        return float(np.count_nonzero(self.index <= level) / self.index.size)


def array_of(value: ir.Value | None) -> Array | None:
    """Return the numbers of a constant, else None."""
    return None if value is None or value.const_value is None else np.asarray(value.const_value.numpy())


def level_models(graph: CanonicalGraph) -> tuple[ir.Model, ...]:
    """Return the network of every level, sparsest first; all have the same nodes. BatchNorm stays, padding is folded.

    Raises:
        ExportError: When the levels do not have the same nodes.
    """
    models = tuple(
        at_level(graph, level, fold_batch_norm=False, drop_dead_channels=False)
        for level in range(len(graph.ladder))
    )
    for model in models:
        FoldPad()(model)
    shapes = {
        tuple((node.domain, node.op_type, len(node.inputs)) for node in model.graph) for model in models
    }
    if len(shapes) != 1:
        raise ExportError("The levels of this network differ in more than their constants")
    return models


def find_layers(models: Sequence[ir.Model]) -> tuple[list[Layer], dict[str, str]]:
    """Return the layers that nested kernels can compute, and the reasons for those that they cannot (by name)."""
    found, refused = [], {}
    taken: set[int] = set()
    finder = _Finder(models)
    for position, node in enumerate(finder.nodes):
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.domain not in ("", "ai.onnx"):
            continue
        layer = finder.layer(position, taken)
        if isinstance(layer, str):
            refused[node.name or f"{node.op_type}_{position}"] = layer
        else:
            found.append(layer)
            taken.update((layer.position, *layer.absorbed))
    return found, refused


class _Finder:
    """Looks at the same position in the networks of all levels."""

    def __init__(self, models: Sequence[ir.Model]) -> None:
        self.levels = [list(model.graph) for model in models]
        self.nodes = self.levels[-1]
        self._place = {id(node): position for position, node in enumerate(self.nodes)}

    def constants(self, position: int, number: int) -> list[Array] | None:
        """Return one array a level for a node's input, or None where it is absent or not constant."""
        values = [nodes[position].inputs for nodes in self.levels]
        arrays = [array_of(inputs[number]) if number < len(inputs) else None for inputs in values]
        return None if any(array is None for array in arrays) else [a for a in arrays if a is not None]

    def layer(self, position: int, taken: set[int]) -> Layer | str:
        node = self.nodes[position]
        weights = self.constants(position, 1)
        if weights is None:
            return "its weight is not constant"
        if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights):
            return "its weight is not finite float32"
        geometry: Geometry | None = None
        if node.op_type == "Conv":
            described = _geometry(node, weights[0].shape)
            if isinstance(described, str):
                return described
            geometry = described
            flat = [w.reshape(len(w), -1) for w in weights]
        else:
            unusual = _unusual_product(node, weights[0])
            if unusual:
                return unusual
            by_rows = node.op_type == "Gemm" and _int(node, "transB", 0) == 1
            flat = [w if by_rows else w.T for w in weights]
        index = _index_of(flat)
        if index is None:
            return "its levels are not nested"
        table = self._first_table(position, flat[0].shape[0])
        if table is None:
            return "its bias is not one constant a row"
        kind = "matmul" if geometry is None else "conv"
        if geometry is not None and geometry.groups == geometry.in_channels == flat[0].shape[0]:
            kind = "depthwise"
        follow = _Follow(self, position, taken, table, geometry)
        return Layer(
            name=node.name or f"{node.op_type}_{position}", position=position, end=follow.end,
            absorbed=tuple(follow.absorbed),
            kind=kind, weight=np.ascontiguousarray(flat[-1]), index=index, table=follow.table.astype(np.float32),
            activation=follow.activation, residual=follow.residual, geometry=geometry,
        )  # fmt: skip

    def _first_table(self, position: int, rows: int) -> npt.NDArray[np.float64] | None:
        """Return scale and bias of the node itself, (levels, 2, rows)."""
        node = self.nodes[position]
        alpha = beta = 1.0
        if node.op_type == "Gemm":
            alpha, beta = _float(node, "alpha", 1.0), _float(node, "beta", 1.0)
        table = np.zeros((len(self.levels), 2, rows))
        table[:, 0] = alpha
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            biases = self.constants(position, 2)
            if biases is None or not all(
                b.size in (1, rows) and b.shape[-1:] in ((), (1,), (rows,)) for b in biases
            ):
                return None
            table[:, 1] = [np.broadcast_to(b.reshape(-1), rows) * beta for b in biases]
        return table

    def only_use(self, value: ir.Value) -> tuple[ir.Node, int] | None:
        """Return the single consumer of a value, with the number of its input."""
        uses = list(value.uses())
        return (uses[0].node, uses[0].idx) if len(uses) == 1 and not value.is_graph_output() else None

    def place(self, node: ir.Node) -> int | None:
        """Return a node's position, None when it lies in a subgraph."""
        return self._place.get(id(node))


class _Follow:
    """Absorbs what comes after a linear node: constant additions, BatchNorm, a residual, an activation."""

    def __init__(
        self,
        finder: _Finder,
        position: int,
        taken: set[int],
        table: npt.NDArray[np.float64],
        geometry: Geometry | None,
    ) -> None:
        self.finder, self.taken, self.table, self.geometry = finder, taken, table, geometry
        self.end = position
        self.absorbed: list[int] = []
        self.residual: tuple[int, int] | None = None
        self.activation = Activation()
        while self._bias() or self._norm():
            pass
        if geometry is not None:
            self._residual()
        if not self._clip():
            self._gated()

    @property
    def value(self) -> ir.Value:
        return self.finder.nodes[self.end].outputs[0]

    def _next(self, *types: str) -> tuple[int, ir.Node, int] | None:
        use = self.finder.only_use(self.value)
        if use is None or use[0].op_type not in types or use[0].domain not in ("", "ai.onnx"):
            return None
        place = self.finder.place(use[0])
        return None if place is None or place in self.taken else (place, *use)

    def _absorb(self, place: int) -> bool:
        self.absorbed.append(place)
        self.end = place
        return True

    def _bias(self) -> bool:
        following = self._next("Add")
        if following is None:
            return False
        place, node, number = following
        constants = self.finder.constants(place, 1 - number)
        rows, rank = self.table.shape[2], _rank(node.outputs[0])
        if constants is None or rank is None or rank != _rank(self.value):
            return False
        allowed = ((rows,), (1, rows)) if self.geometry is None else ((rows, 1, 1), (1, rows, 1, 1))
        if constants[0].shape not in allowed:
            return False
        self.table[:, 1] += [c.reshape(-1) for c in constants]
        return self._absorb(place)

    def _norm(self) -> bool:
        following = self._next("BatchNormalization")
        if following is None or (self.geometry is None and _rank(self.value) != 2):
            return False
        place, node, _ = following
        if any(o.uses() or o.is_graph_output() for o in node.outputs[1:]):
            return False
        parts = [self.finder.constants(place, number) for number in range(1, 5)]
        if any(part is None for part in parts):
            return False
        gamma, beta, mean, variance = (np.asarray(part, np.float64) for part in parts)  # (levels, rows)
        scale = gamma / np.sqrt(variance + _float(node, "epsilon", 1e-5))
        self.table[:, 1] = (self.table[:, 1] - mean) * scale + beta
        self.table[:, 0] *= scale
        return self._absorb(place)

    def _residual(self) -> None:
        following = self._next("Add")
        if following is None:
            return
        place, node, number = following
        other = node.inputs[1 - number]
        if (
            other is None
            or array_of(other) is not None
            or _image(other) is None
            or _image(other) != _image(self.value)
        ):
            return
        if (
            other.is_graph_input()
            or other.shape is None
            or self.value.shape is None
            or other.shape[0] != self.value.shape[0]
        ):
            return  # what it is at run time must be certain: the kernel does not broadcast
        self.residual = (place, 1 - number)
        self._absorb(place)

    def _clip(self) -> bool:
        following = self._next("Relu", "Clip", "HardSwish")
        if following is None:
            return False
        place, node, _ = following
        if node.op_type == "HardSwish":
            self.activation = Activation(ActivationKind.HARD_SWISH)
        elif node.op_type == "Relu":
            self.activation = Activation.clip(0.0, float("inf"))
        else:
            bounds = [-float("inf"), float("inf")]
            for number in (1, 2):
                if number < len(node.inputs) and node.inputs[number] is not None:
                    constants = self.finder.constants(place, number)
                    if constants is None or len({float(c) for c in constants}) != 1:
                        return False
                    bounds[number - 1] = float(constants[0])
            self.activation = Activation.clip(*bounds)
        return self._absorb(place)

    def _gated(self) -> bool:
        """X * sigmoid(x), and x * hardsigmoid(x) with slope 1/6."""
        uses = list(self.value.uses())
        if len(uses) != 2 or self.value.is_graph_output():
            return False
        gates = [use.node for use in uses if use.node.op_type in ("Sigmoid", "HardSigmoid")]
        products = [use.node for use in uses if use.node.op_type == "Mul"]
        if len(gates) != 1 or len(products) != 1 or gates[0].outputs[0] not in products[0].inputs:
            return False
        gate, product = self.finder.place(gates[0]), self.finder.place(products[0])
        if (
            gate is None
            or product is None
            or {gate, product} & self.taken
            or self.finder.only_use(gates[0].outputs[0]) is None
        ):
            return False
        hard = gates[0].op_type == "HardSigmoid"
        if hard and (
            abs(_float(gates[0], "alpha", 0.2) - 1 / 6) > 1e-6 or _float(gates[0], "beta", 0.5) != 0.5
        ):
            return False
        self.activation = Activation(ActivationKind.HARD_SWISH if hard else ActivationKind.SILU)
        self.absorbed.append(gate)
        return self._absorb(product)


def _index_of(flat: Sequence[Array]) -> npt.NDArray[np.uint8] | None:
    """Return the level index of weights given once a level, or None where they are not nested."""
    last = flat[-1]
    index = np.full(last.shape, NEVER, np.uint8)
    for level in reversed(range(len(flat))):
        active = flat[level] != 0
        if not np.array_equal(flat[level][active], last[active]) or np.any(
            active & (index > level + 1) & (level + 1 < len(flat))
        ):
            return None
        index[active] = level
    return index


def _unusual_product(node: ir.Node, weight: Array) -> str | None:
    """Return why a Gemm or MatMul is not x W with a matrix W, or None."""
    if weight.ndim != 2:
        return "its weight is not a matrix"
    if node.op_type == "Gemm" and _int(node, "transA", 0) != 0:
        return "it transposes its input"
    rank = _rank(node.inputs[0])
    if rank is None or rank < 1:
        return "the rank of its input is not known"
    return None


def _geometry(node: ir.Node, shape: tuple[int, ...]) -> Geometry | str:
    """Describe a Conv node, or say why it cannot be."""
    source = node.inputs[0]
    seen, made = _image(source), _image(node.outputs[0])
    if len(shape) != 4:
        return "it is not a 2-D convolution"
    if seen is None or made is None:
        return "the size of its images is not known"
    auto = node.attributes.get("auto_pad")
    if auto is not None and auto.as_string() not in ("NOTSET", "VALID", ""):
        return "its padding is automatic"
    kernel, groups = (shape[2], shape[3]), _int(node, "group", 1)
    stride, dilation = _ints(node, "strides", (1, 1)), _ints(node, "dilations", (1, 1))
    pads = _ints(node, "pads", (0, 0, 0, 0))
    if seen[0] != shape[1] * groups or made[0] != shape[0]:
        return "its channels do not fit its weight"
    return Geometry(
        seen[1:], made[1:], seen[0], kernel, (stride[0], stride[1]), (dilation[0], dilation[1]),
        (pads[0], pads[1], pads[2], pads[3]), groups,
    )  # fmt: skip


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _image(value: ir.Value | None) -> tuple[int, int, int] | None:
    """Return (channels, height, width) where all three are known."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return None
    sizes = [size for size in list(value.shape)[1:] if isinstance(size, int)]
    return (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 else None


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _float(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def _ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return default if attribute is None else tuple(attribute.as_ints())
