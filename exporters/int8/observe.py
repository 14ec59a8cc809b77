"""What the values of a network are on real inputs, at every level.

The float network of a level runs with the wanted values as further outputs, a few samples at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.int8.samples import pieces
from elsa_edge.quantise.calibrate import Observer
from elsa_edge.quantise.steps import Steps
from elsa_edge.running.onnx_session import Settings, open_session, options_for

__all__ = ["Observed", "observe"]

Array = npt.NDArray[Any]


class Observed:
    """Observers of every watched value at every level.

    Args:
        levels: Value name -> observer, one mapping per level.
    """

    def __init__(self, levels: Sequence[Mapping[str, Observer]]) -> None:
        self._levels = levels

    def steps(self, name: str) -> list[Steps]:
        """Return how to code a value, one per level."""
        return [level[name].steps() for level in self._levels]

    def ranges(self, name: str) -> list[tuple[float, float]]:
        """Return the least and the largest number that a value held, or 0, one pair per level."""
        return [(level[name].low, level[name].high) for level in self._levels]

    def means(self, name: str) -> npt.NDArray[np.float64]:
        """Return the mean of each channel: (levels, channels)."""
        return np.stack([level[name].means for level in self._levels])


def observe(models: Sequence[ir.Model], watched: Mapping[str, int], samples: Mapping[str, Array]) -> Observed:
    """Run the network of every level over all samples.

    Args:
        models: One a level; they are not modified.
        watched: Value name -> axis of its channels.
        samples: Calibration inputs; those with a batch axis have as many samples.

    Raises:
        InputError: When a value is not finite on them.
    """
    return Observed([_level(model, watched, samples) for model in models])


def _level(model: ir.Model, watched: Mapping[str, int], samples: Mapping[str, Array]) -> dict[str, Observer]:
    copy = model.clone()
    inputs = {str(value.name) for value in copy.graph.inputs}
    observers = {name: Observer(name, axis) for name, axis in watched.items()}
    values = {str(value.name): value for node in copy.graph for value in node.outputs}
    present = {str(value.name) for value in copy.graph.outputs}
    constants = copy.graph.initializers.keys() & watched.keys() - inputs
    for name in constants:
        tensor = copy.graph.initializers[name].const_value
        assert tensor is not None
        observers[name].see(tensor.numpy())
    for name in watched:
        if name not in inputs | present | constants:
            copy.graph.outputs.append(values[name])
    # All cores: nothing is timed here.
    session = open_session(ir.to_proto(copy).SerializeToString(), options_for(Settings(threads=0)))
    wanted = [name for name in watched if name not in inputs | constants]
    for feed in pieces(samples, session):
        for name in watched.keys() & inputs:
            observers[name].see(feed[name])
        if wanted:
            for name, value in zip(wanted, session.run(wanted, feed), strict=True):
                observers[name].see(value)
    return observers
