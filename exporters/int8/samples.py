"""Calibration inputs, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy.typing as npt

__all__ = ["pieces"]

_BATCH: Final = 8

Array = npt.NDArray[Any]


def pieces(samples: Mapping[str, Array], session: Any) -> Iterator[dict[str, Array]]:
    """Cut samples into a few at a time: memory for all values of a network is needed at once.

    Where an input has its batch in another place than in front, all samples are one piece. A network whose batch is
    fixed gets pieces of it.

    Args:
        samples: By name; inputs that the session does not have are left out.
        session: Of ONNX Runtime.
    """
    given = {entry.name: entry.shape for entry in session.get_inputs() if entry.name in samples}
    free = {name for name, shape in given.items() if shape and not isinstance(shape[0], int)}
    elsewhere = any(not isinstance(size, int) for name in given.keys() - free for size in given[name])
    firsts = (
        {int(shape[0]) if shape else 0 for shape in given.values()} if not free and not elsewhere else set()
    )
    if len(firsts) == 1 and (at_once := firsts.pop()) > 0:
        for start in range(0, len(samples[next(iter(given))]), at_once):
            yield {name: samples[name][start : start + at_once] for name in given}
        return
    counts = {len(samples[name]) for name in free}
    if elsewhere or len(counts) != 1:
        yield {name: samples[name] for name in given}
        return
    for start in range(0, counts.pop(), _BATCH):
        yield {
            name: samples[name][start : start + _BATCH] if name in free else samples[name] for name in given
        }
