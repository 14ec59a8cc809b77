"""The nested checkpoint: one `.safetensors` file with dense weights, level indices, per-level tables and the ladder.

    NAME                 float32, its own shape     the dense weight, under its state_dict name
    NAME.level_index     uint8, shape of NAME       lowest level at which each weight is active; 255 = at none
    NAME.levels          float32, (levels, *shape)  a tensor that differs by level: BatchNorm statistics, biases
    metadata             elsa_edge.format, elsa_edge.ladder (JSON), elsa_edge.provenance (JSON)

Nothing in this format can hold code. Needs numpy and safetensors, never torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import CheckpointError, ElsaError, LevelError, first_line
from elsa_edge.files import atomic_file
from elsa_edge.levels import Ladder, LevelIndex, check_index, mask_at, measured_densities
from elsa_edge.visible import visible

__all__ = ["FORMAT", "INDEX_SUFFIX", "TABLE_SUFFIX", "NestedCheckpoint"]

FORMAT: Final = "1"
INDEX_SUFFIX: Final = ".level_index"
TABLE_SUFFIX: Final = ".levels"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NestedCheckpoint:
    """Dense weights with several nested sparse networks inside.

    Attributes:
        weights: state_dict name -> array; float tensors are float32; counters and integer buffers keep their type.
        indices: Name of a nested weight -> its level index, uint8, of the weight's shape.
        tables: Name of a tensor that differs by level -> `(levels, *shape)`. Row k replaces `weights[name]` at level k.
        ladder: The levels, with measured densities.
        provenance: How it was made: method, options, source hashes. JSON values only.

    Raises:
        CheckpointError: When the parts contradict each other (see `__post_init__`).

    Example:
        >>> import torch
        >>> from elsa_edge.sparsify import sparsify
        >>> sparsify(torch.nn.Linear(20, 50), [0.9, 0.0]).save(folder / "nested.safetensors")
        >>> NestedCheckpoint.load(folder / "nested.safetensors").ladder.sparsities
        (0.9, 0.0)
    """

    weights: Mapping[str, Array]
    indices: Mapping[str, LevelIndex]
    tables: Mapping[str, Array]
    ladder: Ladder
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.weights:
            try:
                visible(name)
            except ValueError as error:
                raise CheckpointError(
                    f"This is no name for a weight ({error})", found=repr(name), fix="Rename that module"
                ) from error
        for name, index in self.indices.items():
            if name not in self.weights:
                raise CheckpointError(f"There is a level index for {name} but no such weight")
            try:
                check_index(name, index, self.weights[name].shape, len(self.ladder))
            except LevelError as error:
                raise CheckpointError(error.problem, expected=error.expected, found=error.found) from error
        for name, table in self.tables.items():
            if name not in self.weights:
                raise CheckpointError(f"There is a per-level table for {name} but no such tensor")
            expected = (len(self.ladder), *self.weights[name].shape)
            if table.shape != expected:
                raise CheckpointError(
                    f"The per-level table of {name} has a wrong shape", expected=expected, found=table.shape
                )
        both = sorted(set(self.indices) & set(self.tables))
        if both:
            raise CheckpointError("A tensor is either nested or has a per-level table", found=", ".join(both))

    @property
    def densities(self) -> tuple[float, ...]:
        """Measured fraction of active nested weights at each level."""
        return measured_densities(self.indices, len(self.ladder))

    def at_level(self, level: int) -> dict[str, Array]:
        """Return the plain state_dict of one level: masked weights, this level's rows of the tables."""
        k = self.ladder.check(level)
        state = dict(self.weights)
        for name, index in self.indices.items():
            state[name] = np.where(mask_at(index, k), state[name], np.zeros((), state[name].dtype))
        for name, table in self.tables.items():
            state[name] = table[k]
        return state

    def with_ladder(self, ladder: Ladder) -> NestedCheckpoint:
        """Return the same checkpoint with figures filled into its ladder; its levels stay what they are."""
        return replace(self, ladder=ladder)

    def save(self, path: Path) -> None:
        """Write the file atomically; the ladder's densities are measured now."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        tensors = dict(self.weights)
        tensors |= {name + INDEX_SUFFIX: index for name, index in self.indices.items()}
        tensors |= {name + TABLE_SUFFIX: table for name, table in self.tables.items()}
        metadata = {
            "elsa_edge.format": FORMAT,
            "elsa_edge.ladder": self.ladder.measured(densities=self.densities).to_json(),
            "elsa_edge.provenance": json.dumps(dict(self.provenance), sort_keys=True),
        }
        ready = {name: np.asarray(array, order="C") for name, array in tensors.items()}
        with atomic_file(path) as temporary:
            try:
                save_file(ready, temporary, metadata)
            except SafetensorError as error:  # what a full disk is to its writer
                raise ElsaError(
                    f"Writing {path} failed ({first_line(error)}); it is as it was before",
                    fix="Check the free space and the permissions of that folder",
                ) from error

    @classmethod
    def load(cls, path: Path) -> NestedCheckpoint:
        """Read and check a nested checkpoint.

        Raises:
            CheckpointError: When the file is missing, damaged, not nested, or its parts contradict each other.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise CheckpointError(f"There is no checkpoint at {path}")
        try:
            with safe_open(path, framework="numpy") as stream:
                metadata = stream.metadata() or {}
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} cannot be read as a safetensors file ({error})",
                fix="Make a nested checkpoint of a trained one with `elsa-edge sparsify`",
            ) from error
        if metadata.get("elsa_edge.format") != FORMAT or "elsa_edge.ladder" not in metadata:
            raise CheckpointError(
                f"{path} is not a nested checkpoint",
                expected=f"metadata elsa_edge.format = {FORMAT} and elsa_edge.ladder",
                found=f"metadata {sorted(metadata) or 'none'}",
                fix="Make one with `elsa-edge sparsify` or `elsa-edge train`",
            )
        try:
            ladder = Ladder.from_json(metadata["elsa_edge.ladder"])
            provenance = json.loads(metadata.get("elsa_edge.provenance", "{}"))
        except (LevelError, ValueError) as error:
            raise CheckpointError(f"The metadata of {path} is damaged ({error})") from error
        indices = {n.removesuffix(INDEX_SUFFIX): a for n, a in tensors.items() if n.endswith(INDEX_SUFFIX)}
        tables = {n.removesuffix(TABLE_SUFFIX): a for n, a in tensors.items() if n.endswith(TABLE_SUFFIX)}
        weights = {n: a for n, a in tensors.items() if not n.endswith((INDEX_SUFFIX, TABLE_SUFFIX))}
        return cls(weights, indices, tables, ladder, provenance)
