"""Will XNNPACK run a sparse network sparsely? Its conditions, layer by layer, in words.

XNNPACK takes its sparse kernels for a cluster of layers in one piece or not at all:

    begin  3x3 convolution, stride 2, padding 1 on all sides, 3 input channels, on a graph input that nothing else reads
    middle 1x1 convolutions of stride 1; 3x3 or 5x5 depthwise ones of stride 1 or 2, padded alike on all sides;
           addition of images of one size; elementwise functions; bilinear resizing
    end    the mean over all pixels, or depth-to-space
    and    more than two thirds of all weights of the cluster's 1x1 convolutions are zero; float, channels last

Source: XNNPACK's `xnn_subgraph_rewrite_for_nchw`, confirmed by running. On x86 the kernels are used only without
AVX; the 32-bit ARM wheel has no XNNPACK.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["Cluster", "device_reasons", "find_cluster"]

_LEAST_ZEROS: Final = 2 / 3
_UNARY: Final = frozenset(
    {"Relu", "Clip", "LeakyRelu", "HardSwish", "Sigmoid", "Abs", "Neg", "Floor", "Ceil", "Elu"}
)
_BINARY: Final = frozenset({"Add"})
# What our passes add to a weight's name.
_REWRITTEN: Final = re.compile(r"(\.(masked|folded|kept|flat)(_\d+)?)+$")
_ENDS: Final = frozenset({"GlobalAveragePool", "ReduceMean", "DepthToSpace"})


@dataclass(frozen=True)
class Cluster:
    """What XNNPACK would make of one level.

    Attributes:
        sparse: Whether it would take its sparse kernels.
        begins: Whether the first convolution could begin a cluster.
        zeros: Share of zeros over the weights of the cluster's 1x1 convolutions; None when there is no cluster.
        reasons: A sentence for each layer that matters, the deciding one last.
    """

    sparse: bool
    zeros: float | None
    reasons: tuple[str, ...]
    begins: bool = False


def device_reasons(profile: DeviceProfile) -> tuple[str, ...]:
    """Return why the device would not run sparse kernels whatever the network; empty when it would."""
    reasons = []
    hardware = profile.hardware
    package = profile.runtime.options.get("litert.package", "ai-edge-litert")
    if hardware.arch == "armv7l":
        reasons.append("the 32-bit ARM runtime (tflite-runtime) has no XNNPACK, and so no sparse kernels")
    elif hardware.arch == "x86-64":
        reasons.append("on x86, XNNPACK uses its sparse kernels only on processors without AVX")
    elif package == "tflite-runtime" and "fp16" not in hardware.features:
        reasons.append(
            "tflite-runtime 2.14 has sparse kernels only for cores with fp16 arithmetic (ai-edge-litert for all)"
        )
    if profile.tflite.input_layout != "NHWC":
        reasons.append(
            "the input layout is NCHW, and a transposed input keeps the first convolution out of the cluster"
        )
    return tuple(reasons)


def _ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    attribute = node.attributes.get(name)
    return list(attribute.as_ints()) if attribute is not None else default


def _weight(node: ir.Node) -> np.ndarray[Any, Any] | None:
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def _label(node: ir.Node) -> str:
    weight = node.inputs[1].name if len(node.inputs) > 1 and node.inputs[1] is not None else None
    name = str(weight if node.op_type == "Conv" and weight else node.name or node.outputs[0].name)
    return f"{node.op_type} {_REWRITTEN.sub('', name)}"


def _readers(value: ir.Value) -> list[ir.Node]:
    """Return the nodes that read a value's numbers; one that asks for its shape is folded away before."""
    return list(dict.fromkeys(node for node, _ in value.uses() if node.op_type != "Shape"))


def _stem_problem(node: ir.Node) -> str | None:
    weight = _weight(node)
    if weight is None or weight.ndim != 4:
        return "its weight is not constant"
    pads, strides = _ints(node, "pads", [0] * 4), _ints(node, "strides", [1, 1])
    found = []
    if weight.shape[2:] != (3, 3):
        found.append(f"kernel {weight.shape[2]}x{weight.shape[3]} instead of 3x3")
    if strides != [2, 2]:
        found.append(f"stride {strides[0]} instead of 2")
    if pads != [1, 1, 1, 1]:
        found.append(f"padding {pads} instead of 1 on all sides")
    if weight.shape[1] != 3 or node.attributes.get_int("group", 1) != 1:
        found.append(f"{weight.shape[1]} input channels instead of 3")
    return ", ".join(found) or None


def _conv_problem(node: ir.Node) -> str | None:
    """Return what keeps a convolution inside the cluster from fitting, or None."""
    weight = _weight(node)
    if weight is None or weight.ndim != 4:
        return "its weight is not constant"
    kernel, group = weight.shape[2:], node.attributes.get_int("group", 1)
    pads, strides = _ints(node, "pads", [0] * 4), _ints(node, "strides", [1, 1])
    if _ints(node, "dilations", [1, 1]) != [1, 1]:
        return "it is dilated"
    if kernel == (1, 1) and group == 1:
        return (
            None
            if strides == [1, 1] and not any(pads)
            else "a 1x1 convolution must have stride 1 and no padding"
        )
    if not (group == weight.shape[0] and weight.shape[1] == 1):
        return f"a {kernel[0]}x{kernel[1]} convolution must be depthwise with one filter per channel"
    if kernel not in {(3, 3), (5, 5)}:
        return f"a depthwise convolution must be 3x3 or 5x5, not {kernel[0]}x{kernel[1]}"
    if pads != [kernel[0] // 2] * 4:
        return f"its padding {pads} is not {kernel[0] // 2} on all sides"
    return None if strides in ([1, 1], [2, 2]) else f"stride {strides} instead of 1 or 2"


def _is_image(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) == 4


def _node_problem(node: ir.Node) -> str | None:
    if node.op_type == "Conv":
        return _conv_problem(node)
    if node.op_type in _UNARY:
        return None
    if node.op_type in _BINARY:
        shapes = [tuple(map(str, value.shape)) if _is_image(value) else () for value in node.inputs]  # type: ignore[union-attr, arg-type]  # _is_image checked both
        return None if shapes[0] and shapes[0] == shapes[1] else "its operands are not two images of one size"
    if node.op_type == "Resize":
        mode = node.attributes.get("mode")
        return None if mode is not None and mode.as_string() == "linear" else "only bilinear resizing fits"
    return "XNNPACK has no channels-first form of it"


def find_cluster(model: ir.Model) -> Cluster:
    """Follow the network from its first convolution and say what XNNPACK would do.

    Args:
        model: One level, BatchNorm folded, with known shapes (ONNX axes: N, C, H, W).
    """
    stems = [
        node
        for value in model.graph.inputs
        for node in _readers(value)
        if node.op_type == "Conv" and _is_image(value)
    ]
    if not stems:
        return Cluster(
            False, None, ("no convolution reads an image input, so there is nothing for the sparse kernels",)
        )
    stem = stems[0]
    assert stem.inputs[0] is not None
    if len(_readers(stem.inputs[0])) > 1:
        return Cluster(False, None, (f"{_label(stem)}: other layers read the same input",))
    problem = _stem_problem(stem)
    if problem is not None:
        return Cluster(False, None, (f"{_label(stem)} cannot begin a cluster: {problem}",))
    return _follow(stem)


def _follow(stem: ir.Node) -> Cluster:
    reasons = [f"{_label(stem)} begins the cluster"]
    ended = False
    zeros = weights = 0
    pending, seen = [stem], {stem}
    while pending:
        node = pending.pop(0)
        for user in [user for value in node.outputs for user in _readers(value)]:
            if user in seen:
                continue
            seen.add(user)
            if user.op_type in _ENDS:
                ended = True
                reasons.append(f"{_label(user)} ends it")
                continue
            problem = _node_problem(user)
            if problem is not None:
                reasons.append(f"{_label(user)} breaks the cluster: {problem}")
                return Cluster(False, None, tuple(reasons), begins=True)
            pending.append(user)
            weight = _weight(user) if user.op_type == "Conv" else None
            if weight is not None and weight.shape[2:] == (1, 1):
                layer_zeros = weight.size - int(np.count_nonzero(weight))
                zeros += layer_zeros
                weights += weight.size
                reasons.append(f"{_label(user)} fits, {layer_zeros / weight.size:.0%} zeros")
        if any(value.is_graph_output() for value in node.outputs):
            return Cluster(
                False, None, (*reasons, f"{_label(node)} is an output inside the cluster"), begins=True
            )
    if not ended:
        return Cluster(
            False,
            None,
            (*reasons, "no mean over all pixels and no depth-to-space ends the cluster"),
            begins=True,
        )
    share = zeros / weights if weights else 0.0
    verdict = "more" if share > _LEAST_ZEROS else "not more"
    reasons.append(
        f"{share:.0%} of the weights of its 1x1 convolutions are zero, {verdict} than the 67% that it takes"
    )
    return Cluster(share > _LEAST_ZEROS, share, tuple(reasons), begins=True)
