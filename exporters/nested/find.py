"""Find the layers that nested kernels can compute: from one network per level to weights, level indices and tables.

The networks of all levels are the same nodes with other constants, so a layer is known by its position. That the
levels are nested is read off the constants themselves: it holds whatever transposed or reshaped them on the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.errors import ExportError
from elsa_edge.exporters.nested.follow import Followed, follow
from elsa_edge.exporters.nested.layer import Geometry, Layer
from elsa_edge.exporters.nested.networks import Networks, image_of, index_of, rank_of
from elsa_edge.exporters.nested.recurrent import RECURRENT, recurrent_layer
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.passes.fold_pad import FoldPad
from elsa_edge.graph.passes.signals_as_images import SignalsAsImages
from elsa_edge.graph.passes.transposed_as_convolution import TransposedAsConvolution
from elsa_edge.graph.passes.volumes_as_images import VolumesAsImages

__all__ = ["find_layers", "level_models"]

_COMPUTED: Final = RECURRENT | {"Conv", "Gemm", "MatMul"}

Array = npt.NDArray[Any]


def level_models(graph: CanonicalGraph) -> tuple[ir.Model, ...]:
    """Return the network of every level, sparsest first; all have the same nodes.

    BatchNorm stays, padding is folded, volumes are images, signals are images of
    one row, transposed convolutions are convolutions.

    Raises:
        ExportError: When the levels do not have the same nodes.
    """
    models = tuple(
        at_level(graph, level, fold_batch_norm=False, drop_dead_channels=False)
        for level in range(len(graph.ladder))
    )
    for model in models:
        FoldPad()(model)
        VolumesAsImages()(model)
        SignalsAsImages()(model)
        TransposedAsConvolution()(model)
    shapes = {
        tuple((node.domain, node.op_type, len(node.inputs)) for node in model.graph) for model in models
    }
    if len(shapes) != 1:
        raise ExportError("The levels of this network differ in more than their constants")
    return models


def find_layers(models: Sequence[ir.Model]) -> tuple[list[Layer], dict[str, str]]:
    """Return the layers that nested kernels can compute, and, by name, why they cannot compute the others."""
    networks = Networks(models)
    found: list[Layer] = []
    refused: dict[str, str] = {}
    taken: frozenset[int] = frozenset()
    for position, node in enumerate(networks.nodes):
        if node.op_type not in _COMPUTED or node.domain not in ("", "ai.onnx"):
            if position not in taken and _loses_weights(networks, position):
                refused[_called(node, position)] = f"no nested kernel computes {node.op_type}"
            continue
        layer = (
            recurrent_layer(networks, position, _called(node, position))
            if node.op_type in RECURRENT
            else _layer(networks, position, taken)
        )
        if isinstance(layer, str):
            refused[_called(node, position)] = layer
        else:
            found.append(layer)
            taken |= {layer.position, *layer.absorbed}
    return found, refused


def _called(node: ir.Node, position: int) -> str:
    return node.name or f"{node.op_type}_{position}"


def _loses_weights(networks: Networks, position: int) -> bool:
    """Tell whether a node reads a matrix that has more zeros at the sparsest level than at the densest.

    Vectors are scales, biases and statistics, with zeros where a channel is dead.
    """
    for number in range(len(networks.nodes[position].inputs)):
        values = networks.constants(position, number)
        if values and values[0].ndim > 1 and np.count_nonzero(values[0]) < np.count_nonzero(values[-1]):
            return True
    return False


def _layer(networks: Networks, position: int, taken: frozenset[int]) -> Layer | str:
    """Return the layer that begins at a linear node, or why there is none."""
    node = networks.nodes[position]
    weights = networks.constants(position, 1)
    if weights is None:
        return "its weight is not constant"
    if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights):
        return "its weight is not finite float32"
    geometry: Geometry | None = None
    if node.op_type == "Conv":
        described = _geometry(node, weights[0].shape)
        if isinstance(described, str):
            return described
        trimmed = _trimmed(described)
        if trimmed is None:
            return "its kernel sees nothing but padding"
        geometry, rows = trimmed
        flat = [w[:, :, rows].reshape(len(w), -1) for w in weights]
    else:
        unusual = _unusual_product(node, weights[0])
        if unusual:
            return unusual
        by_rows = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
        flat = [w if by_rows else w.T for w in weights]
    index = index_of(flat)
    if index is None:
        return "its levels are not nested"
    table = _own_table(networks, position, flat[0].shape[0])
    if table is None:
        return "its bias is not one constant per row"
    followed = follow(Followed(position, table), networks, taken, image=geometry is not None)
    return Layer(
        name=_called(node, position),
        position=position,
        end=followed.end,
        absorbed=followed.absorbed,
        kind=_kind(geometry, len(flat[0])),
        weight=np.ascontiguousarray(flat[-1]),
        index=index,
        table=followed.table.astype(np.float32),
        activation=followed.activation,
        residual=followed.residual,
        geometry=geometry,
        vectors=_vectors(node) if geometry is None else 1,
    )


def _trimmed(g: Geometry) -> tuple[Geometry, slice] | None:
    """Return a geometry whose kernel is no taller than an image of one row, and the rows of the kernel that it keeps.

    The other rows lie on padding. None where all do.
    """
    if g.in_size[0] != 1 or g.out_size[0] != 1:
        return g, slice(None)
    row, between = divmod(g.pads[0], g.dilation[0])
    if between or row >= g.kernel[0]:
        return None
    flat = replace(
        g,
        kernel=(1, g.kernel[1]),
        stride=(1, g.stride[1]),
        dilation=(1, g.dilation[1]),
        pads=(0, g.pads[1], 0, g.pads[3]),
    )
    return flat, slice(row, row + 1)


def _vectors(node: ir.Node) -> int:
    """Return how many vectors a product multiplies, with every free dimension taken as 1."""
    shape = node.outputs[0].shape
    return math.prod(size if isinstance(size, int) else 1 for size in list(shape or ())[:-1])


def _kind(geometry: Geometry | None, rows: int) -> str:
    if geometry is None:
        return "matmul"
    return "depthwise" if geometry.groups == geometry.in_channels == rows else "conv"


def _own_table(networks: Networks, position: int, rows: int) -> npt.NDArray[np.float64] | None:
    """Return scale and bias of the node itself, (levels, 2, rows)."""
    node = networks.nodes[position]
    alpha = beta = 1.0
    if node.op_type == "Gemm":
        alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
    table = np.zeros((networks.count, 2, rows))
    table[:, 0] = alpha
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        biases = networks.constants(position, 2)
        if biases is None or not all(
            b.size in (1, rows) and b.shape[-1:] in ((), (1,), (rows,)) for b in biases
        ):
            return None
        table[:, 1] = [np.broadcast_to(b.reshape(-1), rows) * beta for b in biases]
    return table


def _unusual_product(node: ir.Node, weight: Array) -> str | None:
    """Return why a Gemm or MatMul is not x W with a matrix W, or None."""
    if weight.ndim != 2:
        return "its weight is not a matrix"
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0:
        return "it transposes its input"
    rank = rank_of(node.inputs[0])
    if rank is None or rank < 1:
        return "the rank of its input is not known"
    return None


def _geometry(node: ir.Node, shape: tuple[int, ...]) -> Geometry | str:
    """Describe a Conv node, or say why it cannot be."""
    source = node.inputs[0]
    seen, made = image_of(source), image_of(node.outputs[0])
    if len(shape) != 4:
        return "it is not a convolution over signals or images"
    if seen is None or made is None:
        return "the size of its images is not known"
    auto = node.attributes.get("auto_pad")
    if auto is not None and auto.as_string() not in ("NOTSET", "VALID", ""):
        return "its padding is automatic"
    kernel, groups = (shape[2], shape[3]), node.attributes.get_int("group", 1)
    stride, dilation = (
        node.attributes.get_ints("strides", (1, 1)),
        node.attributes.get_ints("dilations", (1, 1)),
    )
    pads = node.attributes.get_ints("pads", (0, 0, 0, 0))
    if seen[0] != shape[1] * groups or made[0] != shape[0]:
        return "its channels do not fit its weight"
    return Geometry(
        seen[1:], made[1:], seen[0], kernel, (stride[0], stride[1]), (dilation[0], dilation[1]),
        (pads[0], pads[1], pads[2], pads[3]), groups,
    )  # fmt: skip
