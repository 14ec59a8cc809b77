"""Time candidates against the dense network, where the device is of this machine's kind.

Sessions take turns, so other work on the machine hurts all alike; with one thread the clock is that thread's CPU time.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.nested_format.library import library_path
from elsa_edge.profiles.schema import Runtime
from elsa_edge.running.onnx_session import open_session, options_for

__all__ = ["LARGEST_OVERHEAD", "Stopwatch"]

# Choosing a level may cost a dense one so much; beyond this it gets a plain file of its own.
LARGEST_OVERHEAD: Final = 1.03

_ROUNDS: Final = 15
_FEWEST_ROUNDS: Final = 3
_LEAST_SECONDS: Final = (
    0.03  # networks of a tenth of a millisecond go on: a disturbance outlasts 15 of their runs
)
_SAMPLE_SECONDS: Final = (
    0.001  # runs of less are repeated: a network that is asked again and again stays in the caches
)
_SHORT_SECONDS: Final = 0.002
_SMALL_FILE_BYTES: Final = 16_000_000
_COPIES_OF_SMALL: Final = (
    3  # where memory happens to lie makes sessions of one small network differ by up to 10 %
)


class Stopwatch:
    """Runs networks in turns.

    Args:
        inputs: One sample.
        runtime: Threads and their waiting, as on the device.
        seconds: Longest time for one comparison.
    """

    def __init__(self, inputs: Mapping[str, npt.NDArray[Any]], runtime: Runtime, seconds: float) -> None:
        self.inputs: Final = dict(inputs)
        self._runtime, self._seconds = runtime, seconds
        self._clock = time.thread_time if runtime.threads == 1 else time.perf_counter
        self._sessions: dict[tuple[Path, int], Any] = {}

    def over_first(self, plain: Sequence[Path], candidates: Sequence[Path], level: int) -> list[float]:
        """Return the time of every network but the first over the first one's: the median over pairs of runs.

        Args:
            plain: Networks without a level input.
            candidates: Networks with one.
            level: The level.
        """
        copies = _COPIES_OF_SMALL if plain[0].stat().st_size < _SMALL_FILE_BYTES else 1
        feed = {**self.inputs, LEVEL_INPUT: np.array(level, np.int64)}
        runs = [
            [(self._session(path, copy), self.inputs if path in plain else feed) for copy in range(copies)]
            for path in (*plain, *candidates)
        ]
        repeats = max(1, math.ceil(_SAMPLE_SECONDS / max(map(self._shortest, runs))))
        samples: list[list[float]] = [[] for _ in runs]
        for copy in range(
            copies
        ):  # one after the other: copies of a nested session share their mapped weights
            started = time.perf_counter()
            for number in itertools.count():
                took = time.perf_counter() - started
                if number >= _ROUNDS and took > _LEAST_SECONDS:
                    break
                if number >= _FEWEST_ROUNDS and took > self._seconds / copies:
                    break
                for run, times in zip(runs, samples, strict=True):
                    times.append(self._sample(*run[copy], repeats))
        base = np.array(samples[0])
        return [float(np.median(np.array(times) / base)) for times in samples[1:]]

    def _shortest(self, copies: Sequence[tuple[Any, Mapping[str, npt.NDArray[Any]]]]) -> float:
        """Run all copies of a network twice, the first time for pages and buffers; return the shortest second run."""
        for session, inputs in copies:
            session.run(None, inputs)
        return max(1e-7, min(self._sample(session, inputs, 1) for session, inputs in copies))

    def _sample(self, session: Any, inputs: Mapping[str, npt.NDArray[Any]], repeats: int) -> float:
        """Return the seconds of a run, the mean of several where they are short."""
        if repeats > 1:
            session.run(
                None, inputs
            )  # a short one would mostly measure what its predecessor left in the caches
        before = self._clock()
        for _ in range(repeats):
            session.run(None, inputs)
        return (self._clock() - before) / repeats

    def over_plain(self, plain: Path, made: Path, level: int, limit: float = LARGEST_OVERHEAD) -> float:
        """Return the time of a level of a finished file over a plain network's.

        More than the limit is measured twice, and the better one counts: sessions of one network differ by some
        per cent.
        """
        (ratio,) = self.over_first([plain], [made], level)
        if ratio > limit:
            ratio = min(ratio, *self.over_first([plain], [made], level))
        return ratio

    def is_short(self, plain: Path) -> bool:
        """Tell whether looking up a level can cost a plain network some per cent: it takes at most 2 ms."""
        return self._shortest([(self._session(plain, 0), self.inputs)]) <= _SHORT_SECONDS

    def forget(self, path: Path) -> None:
        """Open a file again when it is timed next: it has become another one."""
        self._sessions = {key: session for key, session in self._sessions.items() if key[0] != path}

    def _session(self, path: Path, copy: int) -> Any:
        if (path, copy) not in self._sessions:
            self._sessions[path, copy] = open_session(path, self._options())
        return self._sessions[path, copy]

    def _options(self) -> Any:
        """Return the settings of the device, under which the choice will run."""
        library = library_path()
        return options_for(self._runtime, libraries=() if library is None else (library,))
