"""Nodes between layers that 8-bit kernels can compute: which they are, whatever lies around them."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from elsa_edge.exporters.nested.networks import array_of, image_of

__all__ = ["gated_input", "scales_of"]


def gated_input(node: ir.Node, planes: Collection[ir.Value]) -> int | None:
    """Return which input of a product is an image in `planes`, where the other is a number for each of its channels."""
    if node.op_type != "Mul" or len(node.inputs) != 2:
        return None
    for number in (0, 1):
        image, gate = node.inputs[number], node.inputs[1 - number]
        seen, numbers = image_of(image), image_of(gate)
        if image not in planes or gate in planes or seen is None or numbers is None or image is None:
            continue
        known = image.shape is not None and gate is not None and gate.shape is not None
        if numbers == (seen[0], 1, 1) and known and image.shape[0] == gate.shape[0]:  # type: ignore[index,union-attr]
            return number
    return None


def scales_of(node: ir.Node) -> tuple[int, int] | None:
    """Return how often a Resize repeats each pixel, vertically and horizontally, where that is all it does."""
    if (
        node.op_type not in ("Resize", "Upsample")
        or node.attributes.get_string("mode", "nearest") != "nearest"
    ):
        return None
    seen, made = image_of(node.inputs[0]), image_of(node.outputs[0])
    if seen is None or made is None or made[0] != seen[0] or made[1] % seen[1] or made[2] % seen[2]:
        return None
    scales = made[1] // seen[1], made[2] // seen[2]
    # Of whole factors, these take for the pixels of a stretch the one it came from.
    place = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
    usual = (place, rounding) == ("asymmetric", "floor") or (
        place == "half_pixel" and rounding in ("round_prefer_floor", "round_prefer_ceil")
    )
    given = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    stated = given is None or given.size != 4 or tuple(float(g) for g in given[2:]) == scales
    return scales if usual and stated and node.op_type == "Resize" else None
