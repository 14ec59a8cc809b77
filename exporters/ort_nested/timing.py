"""Time the chosen kernels against the dense network, where the device is of this machine's kind."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.graph.names import LEVEL_INPUT
from runtime_adapters.kernels import library_path

__all__ = ["faster_levels"]

_ROUNDS: Final = 9
_BUDGET_S: Final = 3.0  # a level, so that large networks do not delay a build
_WORTHWHILE: Final = 0.97  # a smaller gain is not worth a second kind of kernel


def _session(path: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.register_custom_ops_library(str(library_path()))
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def faster_levels(
    nested: Path, dense: Path, inputs: Mapping[str, npt.NDArray[Any]], levels: Sequence[int]
) -> set[int]:
    """Return the levels at which the first file beats the second on one thread.

    Runs alternate and CPU time of this thread is compared, so other work on the machine hurts both alike.
    """
    if not levels:
        return set()
    sessions = (_session(nested), _session(dense))
    kept = set()
    for level in levels:
        feed = {**inputs, LEVEL_INPUT: np.array(level, np.int64)}
        samples: tuple[list[float], list[float]] = ([], [])
        for session in sessions:
            session.run(None, feed)
        started = time.perf_counter()
        for _ in range(_ROUNDS):
            for session, times in zip(sessions, samples, strict=True):
                before = time.thread_time()
                session.run(None, feed)
                times.append(time.thread_time() - before)
            if time.perf_counter() - started > _BUDGET_S:
                break
        if np.median(samples[0]) < _WORTHWHILE * np.median(samples[1]):
            kept.add(level)
    return kept
