"""Pack level indices into as few bits as the ladder needs:

code = min(level_index, K)                     K levels; "at no level" becomes K
code_i = (byte_{i // n} >> (bits * (i % n))) & (2^bits - 1),   n = 8 / bits

requires  a canonical graph
ensures   the same masks; a ladder of up to 4 codes costs 1/16 of the float weights instead of 1/4
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.constants import constant
from elsa_edge.graph.names import INDEX
from elsa_edge.levels import LevelIndex

__all__ = ["bits_needed", "decode_nodes", "pack"]


def bits_needed(code_count: int) -> int:
    """Return 1, 2, 4 or 8: the fewest bits that divide a byte and tell `code_count` codes apart."""
    return next(bits for bits in (1, 2, 4, 8) if code_count <= 1 << bits)


def pack(index: LevelIndex, level_count: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Return (bytes, bits) of a level index, flat, first entry in the lowest bits."""
    codes = np.minimum(index.reshape(-1), level_count).astype(np.uint8)
    bits = bits_needed(int(codes.max(initial=0)) + 1)
    per_byte = 8 // bits
    padded = np.zeros(-(-codes.size // per_byte) * per_byte, np.uint8)
    padded[: codes.size] = codes
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    packed = np.bitwise_or.reduce(padded.reshape(-1, per_byte) << shifts, axis=1)
    return packed.astype(np.uint8), bits


def decode_nodes(
    graph: ir.Graph, name: str, index: LevelIndex, level_count: int
) -> tuple[ir.Value, list[ir.Node]]:
    """Return the flat codes of a packed index (size,) as a value, and the nodes that compute it.

    The constants are added to `graph`; the nodes are for the caller to insert.
    """
    packed, bits = pack(index, level_count)
    stem = name + INDEX
    nodes: list[ir.Node] = []

    def add(op_type: str, inputs: list[ir.Value], suffix: str, **attributes: Any) -> ir.Value:
        output = ir.Value(name=f"{stem}.{suffix}")
        nodes.append(ir.node(op_type, inputs, attributes, outputs=[output]))
        return output

    stored = constant(graph, f"{stem}.packed", packed.reshape(-1, 1))
    if bits == 8:
        return add(
            "Reshape", [stored, constant(graph, "elsa_edge.flat", np.array([-1], np.int64))], "flat"
        ), nodes
    shifts = constant(graph, f"elsa_edge.shifts_{bits}", np.arange(0, 8, bits, dtype=np.uint8).reshape(1, -1))
    ones = constant(graph, f"elsa_edge.ones_{bits}", np.array([(1 << bits) - 1], np.uint8))
    codes = add(
        "BitwiseAnd", [add("BitShift", [stored, shifts], "shifted", direction="RIGHT"), ones], "codes"
    )
    flat = add("Reshape", [codes, constant(graph, "elsa_edge.flat", np.array([-1], np.int64))], "padded")
    start = constant(graph, "elsa_edge.start", np.array([0], np.int64))
    end = constant(graph, f"{stem}.size", np.array([index.size], np.int64))
    return add("Slice", [flat, start, end], "flat"), nodes
