"""Compute convolutions over volumes as convolutions over images, so that what is written for images serves them:

    conv3(x, W)[n, :, d] = conv2(stack_k x[n, :, d * stride + k * dilation - pad], W as (out, k * in, kh, kw))

A volume (N, C, D, H, W) becomes D images a sample, (N * D, C, H, W). Where the kernel is deeper than one slice, the
slices that it sees lie one after the other as channels. What follows and treats each channel or number alike goes on
with the images.

requires  constant weights, known sizes, explicit padding; one group where the kernel is deeper than one slice
ensures   outputs are the same numbers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.passes.refusals import refuse
from elsa_edge.graph.passes.rewrite import Rewrite

__all__ = ["VolumesAsImages"]

_RANK: Final = 5  # (N, C, D, H, W)
_BY_NUMBER: Final = frozenset({"Relu", "LeakyRelu", "Clip", "HardSwish", "Sigmoid", "Tanh", "Identity"})
_OF_TWO: Final = frozenset({"Add", "Mul"})


class VolumesAsImages(Rewrite):
    """Make images of all volumes that are convolved with constant weights."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any volume became images."""
        rewriting = _Rewriting(model.graph)
        for node in list(model.graph):
            if node.domain not in ("", "ai.onnx") or not node.outputs or not node.inputs:
                continue
            if _convolves(node):
                depth = _depth_of(node)
                if isinstance(depth, str):
                    refuse("compute volumes as images", node, depth)
                else:
                    rewriting.convolution(node, depth)
            elif rewriting.goes_on(node):
                rewriting.onwards(node)
        rewriting.finish()
        return ir.passes.PassResult(model, rewriting.modified)


@dataclass(frozen=True, slots=True)
class _Depth:
    """A convolution along the first axis of a volume: kernel, steps, zeros around it, and the slices that it makes."""

    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int]
    made: int

    def slices(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """Return which padded slice each output slice sees, kernel by kernel: (made * kernel)."""
        first = np.arange(self.made)[:, None] * self.stride
        seen = first + np.arange(self.kernel) * self.dilation
        return seen.reshape(-1).astype(np.int64)


def _convolves(node: ir.Node) -> bool:
    weight = node.inputs[1] if node.op_type == "Conv" else None
    return weight is not None and weight.const_value is not None and len(weight.const_value.shape) == _RANK


def _sizes(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return (C, D, H, W) where all are known."""
    if value is None or value.shape is None or len(value.shape) != _RANK:
        return None
    sizes = tuple(size for size in list(value.shape)[1:] if isinstance(size, int))
    return sizes if len(sizes) == _RANK - 1 else None


def _depth_of(node: ir.Node) -> _Depth | str:
    """Describe what a convolution does along the depth, or say why it stays."""
    seen, made = _sizes(node.inputs[0]), _sizes(node.outputs[0])
    if seen is None or made is None:
        return "the sizes of its volumes are not known"
    named = node.attributes
    if named.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        return "its padding is automatic"
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    kernel = weight.const_value.shape.numpy()[2]
    if kernel > 1 and named.get_int("group", 1) != 1:
        return "it has groups and a kernel deeper than one slice"
    pads = named.get_ints("pads", (0,) * 6)
    return _Depth(
        kernel,
        named.get_ints("strides", (1, 1, 1))[0],
        named.get_ints("dilations", (1, 1, 1))[0],
        (pads[0], pads[3]),
        made[1],
    )


class _Rewriting:
    """Knows which volumes exist as images."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._images: dict[ir.Value, ir.Value] = {}
        self.modified = False

    def goes_on(self, node: ir.Node) -> bool:
        """Tell whether a node treats images as it treats the volume, and reads one that has them."""
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
            return False
        if node.op_type in _OF_TWO:
            sizes = {_sizes(value) for value in node.inputs}
            return None not in sizes and len(sizes) == 1 and any(v in self._images for v in node.inputs)
        return (node.op_type in _BY_NUMBER or node.op_type == "BatchNormalization") and node.inputs[
            0
        ] in self._images

    def convolution(self, node: ir.Node, depth: _Depth) -> None:
        """Let a convolution read and make images; in place."""
        source, weight = node.inputs[0], node.inputs[1]
        assert source is not None
        assert weight is not None
        assert weight.const_value is not None
        node.replace_input_with(0, self._seen(node, source, depth))
        array = np.asarray(weight.const_value.numpy())  # (out, in, depth, height, width)
        flat = array.swapaxes(1, 2).reshape(len(array), -1, *array.shape[3:])
        node.replace_input_with(1, constant(self._graph, f"{weight.name}.slices", flat))
        for name in ("kernel_shape", "strides", "dilations"):
            if name in node.attributes:
                node.attributes[name] = ir.AttrInt64s(name, list(node.attributes[name].as_ints())[1:])
        if "pads" in node.attributes:
            pads = node.attributes["pads"].as_ints()
            node.attributes["pads"] = ir.AttrInt64s("pads", [pads[1], pads[2], pads[4], pads[5]])
        self._make_images(node)

    def onwards(self, node: ir.Node) -> None:
        """Let another node read and make images; in place."""
        moved = node.inputs if node.op_type in _OF_TWO else node.inputs[:1]
        for place, value in enumerate(moved):
            assert value is not None
            node.replace_input_with(place, self._as_images(node, value))
        self._make_images(node)

    def finish(self) -> None:
        """Take out what turns images back into volumes that nobody reads."""
        for volume in self._images:
            back = volume.producer()
            if back is None or back.op_type != "Transpose" or volume.uses() or volume.is_graph_output():
                continue
            by_slice = back.inputs[0]
            if by_slice is not None and by_slice.producer() is not None:
                self._graph.remove([back, by_slice.producer()], safe=True)  # type: ignore[list-item]  # it has one

    def _as_images(self, node: ir.Node, volume: ir.Value) -> ir.Value:
        """Return a volume as images, made before `node` where there are none yet."""
        if volume not in self._images:
            sizes = _sizes(volume)
            assert sizes is not None
            channels, slices, height, width = sizes
            by_slice = self._before(
                node, "Transpose", [volume], f"{volume.name}.by_slice", perm=[0, 2, 1, 3, 4]
            )
            self._images[volume] = self._reshaped(
                node,
                by_slice,
                [-1, channels, height, width],
                f"{volume.name}.images",
                self._shape(volume, slices, channels),
            )
        return self._images[volume]

    def _seen(self, node: ir.Node, volume: ir.Value, depth: _Depth) -> ir.Value:
        """Return, for each slice that a convolution makes, the slices that it sees as channels of one image."""
        images, sizes = self._as_images(node, volume), _sizes(volume)
        assert sizes is not None
        channels, slices, height, width = sizes
        wanted = depth.slices()
        if depth.kernel == 1 and depth.pads == (0, 0) and np.array_equal(wanted, np.arange(slices)):
            return images
        name = volume.name
        value = self._reshaped(node, images, [-1, slices, channels, height, width], f"{name}.slices")
        if depth.pads != (0, 0):
            pads = [0, depth.pads[0], 0, 0, 0, 0, depth.pads[1], 0, 0, 0]
            value = self._before(node, "Pad", [value, self._constant(f"{name}.pads", pads)], f"{name}.padded")
        value = self._before(
            node, "Gather", [value, self._constant(f"{name}.seen", wanted)], f"{name}.stacked", axis=1
        )
        stacked = depth.kernel * channels
        shape = self._shape(volume, depth.made, stacked)
        return self._reshaped(node, value, [-1, stacked, height, width], f"{name}.stacked_images", shape)

    def _make_images(self, node: ir.Node) -> None:
        """Let the output of `node` be images, and a volume of its old name be made of them."""
        images, sizes = node.outputs[0], _sizes(node.outputs[0])
        assert sizes is not None
        channels, slices, height, width = sizes
        volume = ir.Value(name=images.name, shape=images.shape, type=images.type)
        images.replace_all_uses_with(volume, replace_graph_outputs=True)
        images.name = fresh_name(self._graph, f"{volume.name}.images")
        images.shape = self._shape(volume, slices, channels)
        self.modified = True
        by_slice = ir.node(
            "Reshape",
            [images, self._constant(f"{volume.name}.sizes", [-1, slices, channels, height, width])],
        )
        by_slice.outputs[0].name = fresh_name(self._graph, f"{volume.name}.by_slice")
        by_slice.outputs[0].type = volume.type
        back = ir.node("Transpose", by_slice.outputs, {"perm": [0, 2, 1, 3, 4]}, outputs=[volume])
        self._graph.insert_after(node, [by_slice, back])
        self._images[volume] = images

    def _shape(self, volume: ir.Value, slices: int, channels: int) -> ir.Shape:
        """Return the shape of the images of a volume's samples; equal free sizes have equal names."""
        assert volume.shape is not None
        batch, height, width = volume.shape[0], volume.shape[3], volume.shape[4]
        count = batch * slices if isinstance(batch, int) else f"{batch}*{slices}"
        return ir.Shape([count, channels, height, width])

    def _reshaped(
        self, node: ir.Node, value: ir.Value, sizes: list[int], name: str, shape: ir.Shape | None = None
    ) -> ir.Value:
        made = self._before(node, "Reshape", [value, self._constant(f"{name}.sizes", sizes)], name)
        made.shape = shape
        return made

    def _before(
        self, node: ir.Node, kind: str, inputs: list[ir.Value], name: str, **named: object
    ) -> ir.Value:
        made = ir.node(kind, inputs, dict(named))  # type: ignore[arg-type]  # whole numbers and lists of them
        made.outputs[0].name = fresh_name(self._graph, name)
        made.outputs[0].type = inputs[0].type
        self._graph.insert_before(node, made)
        return made.outputs[0]

    def _constant(self, name: str, numbers: object) -> ir.Value:
        return constant(self._graph, name, np.asarray(numbers, np.int64))
