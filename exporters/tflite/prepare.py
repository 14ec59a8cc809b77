"""From one level's ONNX graph to the form that converts well: fixed shapes, channels-last inputs, a safe head.

    every free size -> the size of the example      (TFLite has one arena; a free batch makes it slow or fail)
    ReduceMean(x, (2, 3), keepdims=0) -> Reshape(ReduceMean(x, (2, 3), keepdims=1))
    input (n, C, H, W) of convolutions -> Transpose(input (n, H, W, C))        the converter removes the pair

The head rewrite matters for right numbers, not for speed: with the converter's own form of it (TRANSPOSE, then MEAN
over the last axes) the sparse path of ai-edge-litert 2.3.0 computes something else, silently.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import onnx_ir as ir

from elsa_edge.bundle.instructions import FileLayout
from elsa_edge.errors import ExportError
from elsa_edge.exporters.tflite.blame import module_of, no_tflite_form
from elsa_edge.exporters.tflite.copies import INPUT, OUTPUT, copied_outputs
from elsa_edge.exporters.tflite.types import compute_in_wider_types
from elsa_edge.graph.constants import constant
from elsa_edge.graph.passes.signals_as_images import widen_window
from elsa_edge.graph.silence import silent
from elsa_edge.tensors import FROM_NHWC, TO_NHWC, TensorSpec

__all__ = ["SHIELD", "Prepared", "fixed_shapes", "prepare"]

# The converter meets only these names: users' names may hold anything, and torch's own are output_0 and the like.
SHIELD: Final = "elsa_edge_one_"
_IMAGE_OPERATORS: Final = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Resize",
        "BatchNormalization",
    }
)
_ELEMENTWISE: Final = frozenset(
    {
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Clip",
        "Sigmoid",
        "Tanh",
        "HardSwish",
        "HardSigmoid",
        "Elu",
        "Gelu",
        "Softplus",
        "Identity",
        "Cast",
        "Pad",
        "Pow",
        "Sqrt",
        "Abs",
        "Neg",
        "Exp",
        "Log",
        "Concat",
    }
)


@dataclass(frozen=True)
class Prepared:
    """A model ready for the converter.

    Attributes:
        model: Inputs are called `INPUT`0, `INPUT`1 ..., outputs `OUTPUT`0 ..., whatever their names were.
        inputs: Original names in order.
        outputs: The same.
        input_layouts: Layout of each input in the file.
        copies: Place of an output that is a copy -> the input or output it is a copy of, or its constant numbers. The
            converter does not meet these.
    """

    model: ir.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_layouts: tuple[FileLayout, ...]
    copies: Mapping[int, str | np.ndarray[Any, Any]] = field(default_factory=dict)


def _is_image(value: ir.Value) -> bool:
    """Whether a four-dimensional value goes, on every path and past elementwise operators, into operators on images."""
    if value.shape is None or len(value.shape) != 4:
        return False
    seen: set[ir.Value] = set()
    pending = [value]
    found = False
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for node, place in current.uses():
            if node.op_type in _IMAGE_OPERATORS and place == 0:
                found = True
            elif node.op_type in _ELEMENTWISE:
                pending.extend(node.outputs)
            else:
                return False
    return found


def _fix_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give every input its fixed shape, infer all others, and fold what became constant."""
    from onnx_ir.passes import common
    from onnxscript import optimizer

    inputs = set(model.graph.inputs)
    for value in model.graph.inputs:
        value.shape = ir.Shape(shapes[str(value.name)])
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value not in inputs:
                value.shape = None
    with silent():  # the optimiser reports what it skipped; skipping is fine here
        common.ShapeInferencePass()(model)
        optimizer.optimize(model, num_iterations=2, onnx_shape_inference=True)
        common.ShapeInferencePass()(model)


def _require_fixed(model: ir.Model) -> None:
    for node in model.graph:
        if node.domain not in {"", "ai.onnx"}:
            raise no_tflite_form(f"{node.domain}.{node.op_type}", node)
        for value in node.outputs:
            if value.shape is None or not all(isinstance(size, int) for size in value.shape):
                if not value.uses() and value not in model.graph.outputs:
                    continue
                known = "unknown" if value.shape is None else "x".join(map(str, value.shape))
                raise ExportError(
                    f"TFLite needs fixed shapes, and that of {value.name}, made by the operator {node.op_type} "
                    f"({node.name}{module_of(node)}), depends on the data",
                    found=known,
                    fix="Move that operator out of the network, or build an ONNX Runtime variant (ort-switch)",
                )


def _spatial_axes(node: ir.Node) -> bool:
    """Whether a ReduceMean drops exactly the two last axes of a four-dimensional tensor."""
    source = node.inputs[0]
    axes = (
        ir.convenience.get_const_tensor(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else None
    )
    keep = node.attributes.get_int("keepdims", 1)
    if axes is None or keep or source is None or source.shape is None or len(source.shape) != 4:
        return False
    return sorted(int(axis) % 4 for axis in axes.numpy().reshape(-1)) == [2, 3]


def _keep_reduced_axes(model: ir.Model) -> None:
    """ReduceMean(x, (2, 3), keepdims=0) -> Reshape(ReduceMean(x, (2, 3), keepdims=1))."""
    for node in list(model.graph):
        if node.op_type != "ReduceMean" or not _spatial_axes(node):
            continue
        result = node.outputs[0]
        assert result.shape is not None  # _require_fixed came before
        sizes = [int(str(size)) for size in result.shape]
        kept = ir.Value(name=f"{result.name}_kept", type=result.type, shape=ir.Shape([*sizes, 1, 1]))
        target = constant(model.graph, f"{result.name}_shape", np.array(sizes, np.int64))
        mean = ir.Node(
            "", "ReduceMean", [node.inputs[0], node.inputs[1]], outputs=[kept], name=f"{node.name}_kept"
        )
        mean.attributes["keepdims"] = ir.AttrInt64("keepdims", 1)
        flat = ir.Node("", "Reshape", [kept, target], name=f"{node.name}_flat")
        _replace(model, node, [mean, flat], result, flat.outputs[0])


def _widen_grouped_1d(model: ir.Model) -> None:
    """Conv1d(x, W, groups > 1) -> Reshape(Conv2d(Reshape(x), W[:, :, None, :], groups)), which the converter knows."""
    for node in list(model.graph):
        if node.op_type != "Conv" or node.attributes.get_int("group", 1) == 1 or node.inputs[1] is None:
            continue
        source, weight, result = node.inputs[0], node.inputs[1].const_value, node.outputs[0]
        if (
            source is None
            or source.shape is None
            or len(source.shape) != 3
            or weight is None
            or result.shape is None
        ):
            continue
        before, after = ([int(str(size)) for size in shape] for shape in (source.shape, result.shape))
        wide_in = constant(
            model.graph, f"{result.name}_wide_in", np.array([*before[:2], 1, before[2]], np.int64)
        )
        narrow_out = constant(model.graph, f"{result.name}_narrow_out", np.array(after, np.int64))
        kernel = constant(model.graph, f"{node.inputs[1].name}.wide", weight.numpy()[:, :, None, :])
        widen = ir.Node("", "Reshape", [source, wide_in], name=f"{node.name}_widen")
        conv = ir.Node("", "Conv", [widen.outputs[0], kernel, *node.inputs[2:]], name=f"{node.name}_wide")
        narrow = ir.Node("", "Reshape", [conv.outputs[0], narrow_out], name=f"{node.name}_narrow")
        for part, sizes in ((widen, before), (conv, after)):
            value = part.outputs[0]
            value.name, value.type = f"{part.name}_value", result.type
            value.shape = ir.Shape([*sizes[:2], 1, sizes[2]])
        conv.attributes.update(node.attributes)
        widen_window(conv)
        _replace(model, node, [widen, conv, narrow], result, narrow.outputs[0])


def _replace(
    model: ir.Model, old: ir.Node, new: Sequence[ir.Node], result: ir.Value, replacement: ir.Value
) -> None:
    replacement.name, result.name = result.name, f"{result.name}_before"
    replacement.type, replacement.shape = result.type, result.shape
    ir.convenience.replace_nodes_and_values(model.graph, old, [old], list(new), [result], [replacement])


def _rename_inputs(model: ir.Model, layouts: Sequence[FileLayout]) -> None:
    for place, value in enumerate(model.graph.inputs):
        value.name = f"{INPUT}{place}"
        if layouts[place] != "NHWC":
            continue
        shape = [int(str(size)) for size in value.shape or ()]
        inner = ir.Value(name=f"{value.name}_nchw", type=value.type, shape=value.shape)
        value.replace_all_uses_with(inner)
        value.shape = ir.Shape([shape[axis] for axis in TO_NHWC])
        node = ir.Node("", "Transpose", [value], outputs=[inner], name=f"{value.name}_to_nchw")
        node.attributes["perm"] = ir.AttrInt64s("perm", FROM_NHWC)
        model.graph.insert_before(model.graph[0], node) if len(model.graph) else model.graph.append(node)


def _rename_outputs(model: ir.Model, copies: Collection[int]) -> None:
    """End every output with a node of its own, because the converter loses an output that other nodes also read.

    It strips an Identity there, so such an output is multiplied by one (`SHIELD`); after the conversion the product is
    taken out again.
    """
    for place, value in enumerate(list(model.graph.outputs)):
        shape = [int(str(size)) for size in value.shape or ()]
        shared = (
            place not in copies
            and bool(value.uses())
            and value.dtype
            in {
                ir.DataType.FLOAT,
                ir.DataType.INT32,
                ir.DataType.INT64,
            }
        )
        if shared:
            assert value.dtype is not None
            one = constant(model.graph, f"{SHIELD}{place}", np.ones([1] * len(shape), value.dtype.numpy()))
            node = ir.Node("", "Mul", [value, one], name=f"{SHIELD}{place}_product")
            value = node.outputs[0]  # noqa: PLW2901 - from here on this is the output
            value.name, value.type, value.shape = f"{SHIELD}{place}_value", one.type, ir.Shape(shape)
            model.graph.append(node)
        node = ir.Node("", "Identity", [value], name=f"{OUTPUT}{place}_end")
        last = node.outputs[0]
        last.name, last.type, last.shape = f"{OUTPUT}{place}", value.type, ir.Shape(shape)
        model.graph.append(node)
        model.graph.outputs[place] = last


def prepare(
    model: ir.Model, shapes: Mapping[str, Sequence[int]], input_layout: Literal["NHWC", "NCHW"] = "NHWC"
) -> Prepared:
    """Return a level's graph in the form that is handed to the converter.

    Args:
        model: One level, without a level input; it is rewritten.
        shapes: The fixed shape of every input, in canonical order of axes.
        input_layout: "NHWC" moves the channels of image inputs last; "NCHW" leaves them. Outputs stay as they are.

    Raises:
        ExportError: When a shape depends on the data, or an operator on narrow integers has no form.
    """
    _fix_shapes(model, shapes)
    _require_fixed(model)
    compute_in_wider_types(model)
    _keep_reduced_axes(model)
    _widen_grouped_1d(model)
    inputs = tuple(str(value.name) for value in model.graph.inputs)
    outputs = tuple(str(value.name) for value in model.graph.outputs)
    input_layouts: tuple[FileLayout, ...] = tuple(
        "NHWC" if input_layout == "NHWC" and _is_image(value) else "same" for value in model.graph.inputs
    )
    _rename_inputs(model, input_layouts)
    copies = copied_outputs(model)
    _rename_outputs(model, copies)
    return Prepared(model, inputs, outputs, input_layouts, copies)


def fixed_shapes(
    specs: Mapping[str, TensorSpec], examples: Mapping[str, np.ndarray[Any, Any]], batch: int
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input: `batch` along the samples, the example's size for other free ones.

    Raises:
        ExportError: When a size beside the batch is free and the example does not say it.
    """
    fixed = {}
    for name, spec in specs.items():
        example = examples[name].shape
        unknown = [
            axis
            for axis, size in enumerate(spec.shape)
            if size is None and axis != spec.batch_axis and example[axis] == 1
        ]
        if unknown:
            raise ExportError(
                f"TFLite needs fixed shapes, and the input {name} leaves axis {unknown[0]} free",
                found=f"size 1 in the golden inputs, which is what is taken when nobody says ({spec})",
                fix="Build with `--golden FILE.npz`, with inputs of the size that the device will see",
            )
        fixed[name] = tuple(
            size if size is not None else batch if axis == spec.batch_axis else int(example[axis])
            for axis, size in enumerate(spec.shape)
        )
    return fixed
