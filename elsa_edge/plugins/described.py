"""What a loaded variant says of itself for as long as it is open: a base for those that know it when they open."""

from __future__ import annotations

from collections.abc import Mapping

from elsa_edge.tensors import TensorSpec

__all__ = ["Described"]


class Described:
    """The part of `Opened` that never changes.

    Args:
        inputs: Inputs by name, without the level.
        outputs: Outputs by name.
        level_count: How many levels the variant has.
    """

    def __init__(
        self, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec], level_count: int
    ) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._level_count = level_count

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name, without the level."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""
        return self._outputs

    @property
    def level_count(self) -> int:
        """How many levels the variant has."""
        return self._level_count
