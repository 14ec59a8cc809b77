"""Compute a transposed convolution as a convolution, so that kernels written for these serve it:

    conv_transpose(x, W, stride s)  =  crop(interleave(conv(x, V)))
    V[(o, p), i, t] = W[i, o, s (K - 1 - t) + p]        p = 0 .. s - 1 a phase of the output, K = ceil(k / s)

Every output pixel of a phase sees the same taps; taps past the kernel's end are zero. BatchNorm and activations that
follow are computed before the phases are interleaved, where a kernel can take them along.

requires  constant weights, dilation 1, explicit pads; known sizes where the strides differ by axis
ensures   such a node is left only with a reason; outputs are the same numbers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.passes.refusals import refuse
from elsa_edge.graph.passes.rewrite import Rewrite

__all__ = ["TransposedAsConvolution"]

_DOMAINS: Final = ("", "ai.onnx")
_TO_THE_END: Final = int(np.iinfo(np.int64).max)
_NORM: Final = "BatchNormalization"
_ALIKE: Final = frozenset({"Relu", "LeakyRelu", "Clip", "HardSwish", "Sigmoid", "Tanh", "Elu"})


class TransposedAsConvolution(Rewrite):
    """Rewrite every transposed convolution over images with constant weights."""

    def ensures(self, model: ir.Model) -> None:
        """Refuse a graph in which one is left that nobody was told of."""
        super().ensures(model)
        left = len(_transposed(model))
        if left != self._refused:
            raise ir.passes.PostconditionError(
                f"TransposedAsConvolution left {left} and refused {self._refused}"
            )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any node was rewritten."""
        found = _transposed(model)
        self._refused = 0
        for node in found:
            window = _Window.of(node)
            if isinstance(window, str):
                refuse("compute as a convolution", node, window)
                self._refused += 1
            else:
                _rewrite(model.graph, node, window)
        return ir.passes.PassResult(model, self._refused < len(found))


def _transposed(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "ConvTranspose" and node.domain in _DOMAINS]


@dataclass(frozen=True)
class _Step:
    """A node to insert, with whole numbers as its further inputs."""

    op_type: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class _Axis:
    """One axis of an image: stride s, taps a phase K, and what is cropped of the interleaved phases."""

    stride: int
    taps: int
    pads: tuple[int, int]
    crop: tuple[int, int]

    @classmethod
    def of(cls, kernel: int, stride: int, pads: tuple[int, int], output_padding: int) -> _Axis:
        """Count whole positions of all phases that are cropped as less padding, the rest as a crop."""
        taps = -(-max(kernel, kernel + output_padding - pads[1]) // stride)
        excess = (pads[0], stride * taps - kernel - output_padding + pads[1])
        spared = [min(each // stride, taps - 1) for each in excess]
        return cls(
            stride,
            taps,
            (taps - 1 - spared[0], taps - 1 - spared[1]),
            (excess[0] - stride * spared[0], excess[1] - stride * spared[1]),
        )

    def positions(self, size: int) -> int:
        """Return how many positions each phase has over an image of a size."""
        return size + sum(self.pads) - self.taps + 1


@dataclass(frozen=True)
class _Window:
    """What a node does along both axes; sizes of the image where they are known."""

    axes: tuple[_Axis, _Axis]
    groups: int
    sizes: tuple[int, int] | None

    @classmethod
    def of(cls, node: ir.Node) -> _Window | str:
        """Describe a node, or say why it stays."""
        source, weight = node.inputs[0], node.inputs[1]
        optional = [*node.inputs[2:], None][0]
        if (
            weight is None
            or weight.const_value is None
            or (optional is not None and optional.const_value is None)
        ):
            return "its weights are not constant"
        kernel = [int(size) for size in weight.const_value.numpy().shape[2:]]
        if len(kernel) != 2:
            return "it is not over images"
        attributes = node.attributes
        auto = attributes.get("auto_pad")
        if "output_shape" in attributes or (auto is not None and auto.as_string() not in ("NOTSET", "")):
            return "its padding is automatic"
        if any(step != 1 for step in attributes.get_ints("dilations", (1, 1))):
            return "its kernel is dilated"
        strides, pads = attributes.get_ints("strides", (1, 1)), attributes.get_ints("pads", (0, 0, 0, 0))
        padding = attributes.get_ints("output_padding", (0, 0))
        if min(pads) < 0:
            return "its padding is negative"
        axes = [_Axis.of(kernel[k], strides[k], (pads[k], pads[2 + k]), padding[k]) for k in range(2)]
        shape = [] if source is None or source.shape is None else list(source.shape)[2:]
        sizes = [size for size in shape if isinstance(size, int)]
        known = (sizes[0], sizes[1]) if len(sizes) == 2 else None
        if known is None and strides[0] != strides[1]:
            return "its strides differ and the size of its images is not known"
        groups = attributes.get_int("group", 1)
        return cls((axes[0], axes[1]), groups, known)

    @property
    def phases(self) -> int:
        """How many outputs a kernel has for each channel."""
        return self.axes[0].stride * self.axes[1].stride

    def weights(self, given: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return V (O s s, I / groups, K, K) of W (I, O / groups, k, k)."""
        high, wide = self.axes
        room = [
            (0, axis.stride * axis.taps - size) for axis, size in zip(self.axes, given.shape[2:], strict=True)
        ]
        w = np.pad(given, [(0, 0), (0, 0), *room])
        g, i, o = self.groups, given.shape[0] // self.groups, given.shape[1]
        w = w.reshape(g, i, o, high.taps, high.stride, wide.taps, wide.stride)[:, :, :, ::-1, :, ::-1]
        w = w.transpose(0, 2, 4, 6, 1, 3, 5)
        return np.ascontiguousarray(w.reshape(g * o * self.phases, i, high.taps, wide.taps))


def _rewrite(graph: ir.Graph, node: ir.Node, window: _Window) -> None:
    """Make a convolution of a node, then interleave its phases after what follows by channel; in place."""
    along = _along(graph, node)
    original = node.outputs[0].shape
    source, weight = node.inputs[0], node.inputs[1]
    assert source is not None
    assert weight is not None
    assert weight.const_value is not None
    given = np.asarray(weight.const_value.numpy())
    channels = given.shape[1] * window.groups
    node.op_type = "Conv"
    node.replace_input_with(1, constant(graph, f"{weight.name}.phases", window.weights(given)))
    for name in ("strides", "output_padding", "kernel_shape"):
        node.attributes.pop(name, None)
    pads = [axis.pads[side] for side in range(2) for axis in window.axes]
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    batch = None if source.shape is None else source.shape[0]
    sizes = [None, None] if window.sizes is None else list(map(_Axis.positions, window.axes, window.sizes))
    for follower in (node, *along):
        for place, value in enumerate(follower.inputs):
            by_channel = place > 1 if follower is node else follower.op_type == _NORM and place > 0
            if by_channel and value is not None:
                follower.replace_input_with(place, _each_phase(graph, value, window.phases))
        follower.outputs[0].shape = ir.Shape([batch, channels * window.phases, *sizes])
    _put_together(
        graph, (node, *along)[-1], [*_interleaving(window, channels, sizes), *_crop(window)], original
    )


def _along(graph: ir.Graph, node: ir.Node) -> list[ir.Node]:
    """Return the nodes that follow and treat each channel or number alike, as long as nothing else reads them."""
    found: list[ir.Node] = []
    value = node.outputs[0]
    while len(uses := list(value.uses())) == 1 and not value.is_graph_output():
        follower = uses[0].node
        norm = follower.op_type == _NORM and all(
            v is not None and v.const_value is not None for v in follower.inputs[1:]
        )
        unused = not any(output.uses() or output.is_graph_output() for output in follower.outputs[1:])
        if (
            follower.graph is not graph
            or uses[0].idx != 0
            or not unused
            or not (norm or follower.op_type in _ALIKE)
        ):
            break
        found.append(follower)
        value = follower.outputs[0]
    return found


def _each_phase(graph: ir.Graph, value: ir.Value, phases: int) -> ir.Value:
    """Return numbers a channel, repeated for its phases."""
    assert value.const_value is not None
    return constant(graph, f"{value.name}.phases", np.repeat(np.asarray(value.const_value.numpy()), phases))


def _interleaving(window: _Window, channels: int, sizes: Sequence[int | None]) -> list[_Step]:
    """Return how (N, C s s, H, W) becomes (N, C, H s, W s)."""
    high, wide = (axis.stride for axis in window.axes)
    if window.phases == 1:
        return []
    if high == wide:
        return [_Step("DepthToSpace", {"blocksize": high, "mode": "CRD"})]
    h, w = sizes
    assert h is not None
    assert w is not None
    return [
        _Step("Reshape", constants=([0, channels, high, wide, h, w],)),
        _Step("Transpose", {"perm": [0, 1, 4, 2, 5, 3]}),
        _Step("Reshape", constants=([0, channels, h * high, w * wide],)),
    ]


def _crop(window: _Window) -> list[_Step]:
    """Return the slice of the interleaved phases that is the result, if any is to be taken."""
    begins = [axis.crop[0] for axis in window.axes]
    ends = [-axis.crop[1] or _TO_THE_END for axis in window.axes]
    whole = not any(begins) and all(end == _TO_THE_END for end in ends)
    return [] if whole else [_Step("Slice", constants=(begins, ends, [2, 3]))]


def _put_together(graph: ir.Graph, last: ir.Node, steps: Sequence[_Step], shape: ir.Shape | None) -> None:
    """Insert steps after a node; what they make takes the place and the name of its output."""
    value = last.outputs[0]
    if not steps:
        return
    whole = ir.Value(name=value.name, type=value.type, shape=shape)
    value.replace_all_uses_with(whole, replace_graph_outputs=True)
    value.name = fresh_name(graph, f"{whole.name}.phases")
    for number, step in enumerate(steps):
        after = (
            whole
            if number == len(steps) - 1
            else ir.Value(name=fresh_name(graph, f"{whole.name}.{step.op_type.lower()}"), type=value.type)
        )
        given = [constant(graph, f"{after.name}.sizes", np.array(each, np.int64)) for each in step.constants]
        node = ir.node(step.op_type, [value, *given], step.attributes, outputs=[after])
        graph.insert_after(last, node)
        last, value = node, after
