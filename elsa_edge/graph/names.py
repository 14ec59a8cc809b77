"""The names that format 1 of the canonical graph gives to its parts (docs/format.md)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "FORMAT",
    "FORMAT_KEY",
    "INDEX",
    "IR_VERSION",
    "LADDER_KEY",
    "LEVEL_INPUT",
    "MASKED",
    "NOISE_KEY",
    "OPSET",
    "PROVENANCE_KEY",
    "SELECTED",
    "TABLE",
]

FORMAT: Final = "1"
FORMAT_KEY: Final = "elsa_edge.format"
LADDER_KEY: Final = "elsa_edge.ladder"
PROVENANCE_KEY: Final = "elsa_edge.provenance"
NOISE_KEY: Final = "elsa_edge.noise"  # float32 noise of each output at each level, relative to its scale

LEVEL_INPUT: Final = "level"
INDEX: Final = ".level_index"  # initializer: uint8, shape of the weight
TABLE: Final = ".levels"  # initializer: (levels, *shape)
SELECTED: Final = ".selected"  # value: the row of a table that belongs to the level
MASKED: Final = ".masked"  # value: the weight with the weights above the level set to zero

# What torch 2.13 writes and every ONNX Runtime since 1.19 loads; onnx's own defaults load in none.
IR_VERSION: Final = 10
OPSET: Final = 20
