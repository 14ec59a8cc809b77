"""Several checkpoints of one network, each sparser than the next -> one nested checkpoint, when they are nested.

    nonzero(W_0) in nonzero(W_1) in ...    and    W_k = W_dense where W_k is not zero
    index(w) = the first k with W_k(w) != 0;   at none: never

What no level makes sparse (biases, BatchNorm) may differ, and becomes a table with a row a level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import CheckpointError, UsageError
from elsa_edge.levels import MAX_LEVELS, NEVER, Ladder

__all__ = ["join"]

Array = npt.NDArray[Any]
State = Mapping[str, Array]
_SHOWN: Final = 3


def join(
    states: Sequence[State], names: Sequence[str], weights: Sequence[str], facts: Mapping[str, Any]
) -> NestedCheckpoint:
    """Return one checkpoint with a level for each state.

    Args:
        states: state_dicts of one network, sparsest first.
        names: What the states are called, for people: their files.
        weights: Names of the weights that can be nested.
        facts: Provenance.

    Returns:
        The checkpoint; its densities count weights that are not zero.

    Raises:
        UsageError: When there are fewer than two states or they are not ordered.
        CheckpointError: When they are not nested; says in which tensors, how many weights and by how much.
    """
    if not 2 <= len(states) <= MAX_LEVELS:
        raise UsageError(
            "Several checkpoints make a ladder",
            expected=f"2 to {MAX_LEVELS}, sparsest first",
            found=len(states),
        )
    dense = states[-1]
    indices = {name: _index([state[name] for state in states]) for name in weights}
    faults = []
    for name in weights:
        for level in range(len(states) - 1):
            fault = _fault(states[level][name], states[level + 1][name], dense[name])
            if fault is not None:
                faults.append(f"{name} of {names[level]}: {fault}")
    tables, others = _tables(states, [name for name in dense if name not in indices])
    faults += others
    if faults:
        found = _densities(states, weights)
        backwards = found == sorted(found, reverse=True)
        train = "Train levels inside each other with `elsa-edge train`, or cut the dense one with `elsa-edge sparsify`"
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise CheckpointError(
            "The checkpoints are not nested",
            expected="the same values on common weights, each one's nonzero weights among the next one's",
            found="; ".join(faults[:_SHOWN]) + more,
            fix="Name them the other way round: the sparsest comes first" if backwards else train,
        )
    checkpoint = NestedCheckpoint(dict(dense), indices, tables, _placeholder(len(states)), facts)
    densities = checkpoint.densities
    if any(a >= b for a, b in pairwise(densities)):
        listed = ", ".join(f"{name} {density:.4g}" for name, density in zip(names, densities, strict=True))
        raise UsageError(
            "The checkpoints must be ordered, sparsest first, and differ", found=f"densities {listed}"
        )
    ladder = _ladder(densities).measured(densities=densities)
    return NestedCheckpoint(dict(dense), indices, tables, ladder, facts)


def _densities(states: Sequence[State], weights: Sequence[str]) -> list[float]:
    return [float(np.mean([np.mean(state[name] != 0) for name in weights])) for state in states]


def _index(arrays: Sequence[Array]) -> npt.NDArray[np.uint8]:
    index = np.full(arrays[-1].shape, NEVER, np.uint8)
    for level in reversed(range(len(arrays))):
        index[arrays[level] != 0] = level
    return index


def _fault(sparse: Array, denser: Array, dense: Array) -> str | None:
    """Return how a weight is not nested in the next one, or None."""
    active = sparse != 0
    lost = int(np.count_nonzero(active & (denser == 0)))
    if lost:
        return f"{lost} of {int(active.sum())} nonzero weights are zero in the next"
    other = active & (sparse != dense)
    if other.any():
        by = float(np.max(np.abs(sparse[other] - dense[other])))
        return f"{int(other.sum())} of {int(active.sum())} nonzero weights differ from the densest, by up to {by:.3g}"
    return None


def _tables(states: Sequence[State], names: Sequence[str]) -> tuple[dict[str, Array], list[str]]:
    """Return the tensors that differ as tables, and sentences on those that cannot."""
    tables: dict[str, Array] = {}
    faults = []
    for name in names:
        rows = [state[name] for state in states]
        if all(np.array_equal(row, rows[-1]) for row in rows):
            continue
        if rows[-1].dtype.kind != "f":
            continue  # counters of training, such as num_batches_tracked: the densest one's stays
        if rows[-1].ndim > 1:
            by = max(float(np.max(np.abs(row - rows[-1]))) for row in rows)
            faults.append(f"{name} is no weight that can be sparse, and differs by up to {by:.3g}")
            continue
        tables[name] = np.stack(rows).astype(np.float32)
    return tables, faults


def _placeholder(count: int) -> Ladder:
    return Ladder.from_sparsities([1.0 - (k + 1) / (count + 1) for k in range(count)])


def _ladder(densities: Sequence[float]) -> Ladder:
    """Return levels named after their sparsities, rounded to 0.1 % where that tells them apart."""
    exact = [1.0 - density for density in densities]
    rounded = [round(sparsity, 3) for sparsity in exact]
    apart = len(set(rounded)) == len(rounded) and max(rounded) < 1.0
    return Ladder.from_sparsities(rounded if apart else exact)
