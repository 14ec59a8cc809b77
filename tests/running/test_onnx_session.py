"""Session options have one home: what a profile says is what the runtime gets, in product, oracle and timing alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.profiles.schema import Runtime
from elsa_edge.running.onnx_session import PLAIN, options_for

REPOSITORY = Path(__file__).parents[2]
SPIN, PREPACK = "session.intra_op.allow_spinning", "session.disable_prepacking"


def told(options: Any) -> dict[str, object]:
    """What ONNX Runtime says of options."""
    entries = {key: options.get_session_config_entry(key) for key in (SPIN, PREPACK)}
    return {
        "threads": options.intra_op_num_threads,
        "between": options.inter_op_num_threads,
        "arena": options.enable_cpu_mem_arena,
        "optimization": options.graph_optimization_level,
        **entries,
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (PLAIN, (1, True, ort.GraphOptimizationLevel.ORT_ENABLE_ALL, "0", "0")),
        (
            Runtime(threads=3, arena=False, prepack=False, optimization="basic", spin=True),
            (3, False, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, "1", "1"),
        ),
        (
            Runtime(optimization="none", options={SPIN: "1"}),
            (Runtime().threads, Runtime().arena, ort.GraphOptimizationLevel.ORT_DISABLE_ALL, "1", "0"),
        ),
    ],
)
def test_settings_reach_the_runtime(settings: Any, expected: tuple[object, ...]) -> None:
    """Each of them; the profile's own `options` win."""
    threads, arena, optimization, spin, no_prepack = expected
    assert told(options_for(settings)) == {
        "threads": threads,
        "between": 1,
        "arena": arena,
        "optimization": optimization,
        SPIN: spin,
        PREPACK: no_prepack,
    }


def test_kernels_are_timed_under_the_settings_they_will_run_with() -> None:
    """Arena, prepacking, optimisation and the profile's own options too, not only threads."""
    runtime = Runtime(threads=2, arena=False, prepack=False, optimization="extended", options={SPIN: "1"})
    assert told(Stopwatch({"x": np.zeros(1)}, runtime, 1.0)._options()) == told(options_for(runtime))


def test_nobody_else_makes_options() -> None:
    """Neither the core, nor exporters, nor adapters."""
    places = {
        path.relative_to(REPOSITORY).as_posix()
        for room in ("elsa_edge", "exporters", "runtime_adapters")
        for path in (REPOSITORY / room).rglob("*.py")
        if re.search(r"\bSessionOptions\(|\bInferenceSession\(", path.read_text())
    }
    assert places == {"elsa_edge/running/onnx_session.py"}
