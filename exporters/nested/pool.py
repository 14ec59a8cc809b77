"""Maxima over windows of an image, where kernels that work on planes can compute them."""

from __future__ import annotations

import onnx_ir as ir

from elsa_edge.exporters.nested.layer import Geometry
from elsa_edge.exporters.nested.networks import image_of

__all__ = ["pool_geometry"]


def pool_geometry(node: ir.Node) -> Geometry | None:
    """Describe a maximum over windows of an image, or None where kernels cannot compute it."""
    source, result = node.inputs[0], node.outputs[0]
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return None
    seen, made = image_of(source), image_of(result)
    if seen is None or made is None:
        return None
    auto = node.attributes.get("auto_pad")
    if auto is not None and auto.as_string() not in ("NOTSET", "VALID", ""):
        return None

    kernel, stride = node.attributes.get_ints("kernel_shape", ()), node.attributes.get_ints("strides", (1, 1))
    dilation, pads = (
        node.attributes.get_ints("dilations", (1, 1)),
        node.attributes.get_ints("pads", (0, 0, 0, 0)),
    )
    if len(kernel) != 2:
        return None
    return Geometry(
        seen[1:],
        made[1:],
        seen[0],
        (kernel[0], kernel[1]),
        (stride[0], stride[1]),
        (dilation[0], dilation[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        seen[0],
    )
