"""Pack level indices into as few bits as the ladder needs, or into gaps where nearly all are alike:

code = min(level_index, K)                     K levels; "at no level" becomes K
code_i = (byte_{i // n} >> (bits * (i % n))) & (2^bits - 1),   n = 8 / bits
or   code = scatter(most frequent code, position, other codes),   position_i = sum_{j<=i} gap_j

requires  a canonical graph
ensures   the same masks; a ladder of up to 4 codes costs 1/16 of the float weights instead of 1/4, and half of that
          where one weight in ten is not of the most frequent code
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.constants import constant
from elsa_edge.graph.names import INDEX
from elsa_edge.graph.passes.encode_zeros import gaps_and_values
from elsa_edge.levels import LevelIndex

__all__ = ["bits_needed", "decode_nodes", "pack", "packed_codes"]

# Nodes and names of gaps cost about this much for each index.
_OVERHEAD_BYTES: Final = 600


def bits_needed(code_count: int) -> int:
    """Return 1, 2, 4 or 8: the fewest bits that divide a byte and tell `code_count` codes apart."""
    return next(bits for bits in (1, 2, 4, 8) if code_count <= 1 << bits)


def pack(index: LevelIndex, level_count: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Return (bytes, bits) of a level index, flat, first entry in the lowest bits."""
    return packed_codes(np.minimum(index.reshape(-1), level_count).astype(np.uint8))


def packed_codes(codes: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], int]:
    """Return (bytes, bits) of codes (size,), first entry in the lowest bits."""
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
    writer = _Decoder(graph, name + INDEX)
    codes = np.minimum(index.reshape(-1), level_count).astype(np.uint8)
    usual = int(np.bincount(codes).argmax()) if codes.size else 0
    # Codes as marks above zero, so that what is left between them, and what bridges a long gap, is the usual one.
    gaps, marks = gaps_and_values(np.where(codes == usual, 0, codes.astype(np.int16) + 1), np.uint8)
    others = np.where(marks == 0, usual, marks - 1).astype(np.uint8)
    packed, bits = pack(index, level_count)
    other_bytes = others.size * bits_needed(int(others.max(initial=0)) + 1) // 8
    if gaps.nbytes + other_bytes + _OVERHEAD_BYTES < packed.nbytes:
        return writer.scattered(gaps, others, usual, codes.size), writer.nodes
    return writer.unpacked(packed, bits, codes.size, "packed"), writer.nodes


class _Decoder:
    """Writes the nodes that decode one index."""

    def __init__(self, graph: ir.Graph, stem: str) -> None:
        self._graph, self._stem = graph, stem
        self.nodes: list[ir.Node] = []

    def _add(self, op_type: str, inputs: list[ir.Value], suffix: str, **attributes: Any) -> ir.Value:
        output = ir.Value(name=f"{self._stem}.{suffix}")
        self.nodes.append(ir.node(op_type, inputs, attributes, outputs=[output]))
        return output

    def _constant(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        return constant(self._graph, name, array)

    def unpacked(self, packed: npt.NDArray[np.uint8], bits: int, size: int, called: str) -> ir.Value:
        """Return the codes (size,) of packed ones; `called` is the name of the constant after the stem."""
        stored = self._constant(f"{self._stem}.{called}", packed.reshape(-1, 1))
        flat = self._constant("elsa_edge.flat", np.array([-1], np.int64))
        if bits == 8:
            return self._add("Reshape", [stored, flat], f"{called}.flat")
        shifts = self._constant(
            f"elsa_edge.shifts_{bits}", np.arange(0, 8, bits, dtype=np.uint8).reshape(1, -1)
        )
        ones = self._constant(f"elsa_edge.ones_{bits}", np.array([(1 << bits) - 1], np.uint8))
        shifted = self._add("BitShift", [stored, shifts], f"{called}.shifted", direction="RIGHT")
        codes = self._add("BitwiseAnd", [shifted, ones], f"{called}.codes")
        padded = self._add("Reshape", [codes, flat], f"{called}.padded")
        start = self._constant("elsa_edge.start", np.array([0], np.int64))
        end = self._constant(f"{self._stem}.{called}.size", np.array([size], np.int64))
        return self._add("Slice", [padded, start, end], f"{called}.flat")

    def scattered(
        self, gaps: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8], usual: int, size: int
    ) -> ir.Value:
        """Return codes (size,) that are the usual one but for `others`, each a gap behind the one before."""
        stored = self._constant(f"{self._stem}.gaps", gaps)
        steps = self._add("Cast", [stored], "steps", to=int(ir.DataType.INT64))
        axis = self._constant("elsa_edge.axis_0", np.array(0, np.int64))
        positions = self._add("CumSum", [steps, axis], "positions")
        length = self._constant(f"{self._stem}.size", np.array([size], np.int64))
        filled = self._add("ConstantOfShape", [length], "usual", value=ir.tensor(np.array([usual], np.uint8)))
        packed, bits = packed_codes(others)
        values = self.unpacked(packed, bits, others.size, "others")
        return self._add("ScatterElements", [filled, positions, values], "flat", axis=0)
