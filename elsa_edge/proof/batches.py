"""Batches of other sizes than the golden one, made of its samples so that no two of them are the same to the network.

Whether samples meet inside a network shows only where they differ: the mean of equal samples is each of them. So a
sample that comes a second time is changed, in one of these ways, until two samples of a batch are answered otherwise:

    turned    by one place along its last axis
    drawn     numbers taken anew from its own numbers
    scaled    floats by 3/4, whole numbers in the opposite order
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.proof.information import STEPS, Answers, ToleranceOf
from elsa_edge.tensors import TensorSpec, is_number

__all__ = ["WAYS", "mixed", "resized", "samples_differ"]

Array = npt.NDArray[Any]
_Change = Callable[
    [Array, int, int], Array
]  # samples, the axis along which they lie, how often they came before


def _turned(samples: Array, axis: int, turn: int) -> Array:
    return np.roll(samples, turn, -1) if axis != samples.ndim - 1 else samples


def _drawn(samples: Array, axis: int, turn: int) -> Array:  # noqa: ARG001 - each sample is drawn from all
    chosen = np.random.default_rng(turn).choice(samples.reshape(-1), samples.shape)
    return np.asarray(chosen)


def _scaled(samples: Array, axis: int, turn: int) -> Array:
    if samples.dtype.kind == "f":
        return (samples * 0.75**turn).astype(samples.dtype)
    return np.flip(samples, tuple(other for other in range(samples.ndim) if other != axis))


WAYS: Final[Mapping[str, _Change]] = {"turned": _turned, "drawn": _drawn, "scaled": _scaled}


def resized(
    specs: Mapping[str, TensorSpec], inputs: Mapping[str, Array], batch: int, way: str = "turned"
) -> dict[str, Array]:
    """Return inputs with `batch` samples: the first ones, starting over, changed, where there are too few.

    Args:
        specs: The network's inputs.
        inputs: Arrays that fit them.
        batch: Samples.
        way: One of `WAYS`.
    """

    def repeated(_name: str, array: Array, axis: int) -> Array:
        count = array.shape[axis]
        parts = [np.take(array, np.arange(min(batch, count)), axis)]
        for turn in range(1, -(-batch // count)):
            again = np.take(array, np.arange(min(count, batch - turn * count)), axis)
            parts.append(WAYS[way](again, axis, turn))
        return np.concatenate(parts, axis)

    return _where_samples(specs, inputs, repeated)


def mixed(
    specs: Mapping[str, TensorSpec], inputs: Mapping[str, Array], others: Mapping[str, Array], batch: int
) -> dict[str, Array]:
    """Return inputs with `batch` samples, taken by turns from two inputs; what has no samples is the first one's.

    Args:
        specs: The network's inputs.
        inputs: Arrays that fit them.
        others: The same.
        batch: Samples.
    """

    def by_turns(name: str, array: Array, axis: int) -> Array:
        turns = [
            np.take((array, others[name])[k % 2], [k // 2 % array.shape[axis]], axis) for k in range(batch)
        ]
        return np.concatenate(turns, axis)

    return _where_samples(specs, inputs, by_turns)


def _where_samples(
    specs: Mapping[str, TensorSpec],
    inputs: Mapping[str, Array],
    change: Callable[[str, Array, int], Array],
) -> dict[str, Array]:
    """Change the inputs that have samples, given name, array and their axis; the others stay."""
    axes = {name: specs[name].batch_axis for name in inputs}
    return {
        name: array if (axis := axes[name]) is None or array.shape[axis] == 0 else change(name, array, axis)
        for name, array in inputs.items()
    }


def samples_differ(axes: Mapping[str, int], answers: Answers, tolerance_of: ToleranceOf) -> bool:
    """Tell whether the samples of a batch are answered otherwise, by more than a comparison forgives, at some level.

    Args:
        axes: Output that depends on the inputs -> the axis of its samples.
        answers: Outputs at every level.
        tolerance_of: What a comparison of an output at a level forgives.
    """
    for level, outputs in enumerate(answers):
        for name, axis in axes.items():
            rows = np.moveaxis(outputs[name].astype(np.float64), axis, 0)
            rows = np.where(is_number(rows), rows, 0.0)
            if rows.size == 0:
                continue
            needed = STEPS * tolerance_of(name, level).limit(float(np.max(np.abs(rows))))
            moves = float(np.max(np.ptp(rows, axis=0)))
            if moves > 0.0 and moves >= needed:
                return True
    return False
