"""What is measured in a process of its own, by `in_subprocess`: memory, and XNNPACK with AVX hidden from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import anonymous_bytes, interleaved, ratio
from benchmarks.common.sessions import INPUT, open_variant
from elsa_edge.bundle.golden import largest_difference
from elsa_edge.bundle.instructions import TfliteFiles, TfliteSignatures
from elsa_edge.bundle.manifest import Variant
from elsa_edge.profiles.schema import Runtime

__all__ = ["image_shape", "resident", "stand_in"]


def stand_in(dense: str, sparse: str, rounds: int) -> dict[str, Any]:
    """Time a dense and a sparse file against each other without AVX, in this fresh process."""
    from benchmarks.tflite.sse_stand_in import hide_avx

    hidden = hide_avx()
    from ai_edge_litert.interpreter import Interpreter

    interpreters = {}
    for name, path in (("dense", dense), ("sparse", sparse)):
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        detail = interpreter.get_input_details()[0]
        x = np.random.default_rng(0).standard_normal(detail["shape"]).astype(np.float32)
        interpreter.set_tensor(detail["index"], x)
        interpreters[name] = interpreter
    times = interleaved({name: item.invoke for name, item in interpreters.items()}, rounds=rounds)
    gain = ratio(times["dense"], times["sparse"])
    answers = [item.get_tensor(item.get_output_details()[0]["index"]) for item in interpreters.values()]
    difference, scale = largest_difference(answers[1], answers[0])
    return {
        "hidden": hidden,
        "dense_ms": float(np.median(times["dense"]) * 1e3),
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "relative_difference": difference / max(1.0, scale),
        "same_bits": bool(np.array_equal(answers[0], answers[1])),
    }


def image_shape(variant: Variant) -> tuple[int, ...]:
    """Return the shape of one sample of the only input."""
    assert isinstance(variant.instructions, (TfliteFiles, TfliteSignatures))
    return (1, *(size or 1 for size in variant.instructions.inputs[0].shape[1:]))


def resident(folder: str, levels: list[int]) -> int:
    """Return the anonymous bytes that running these levels adds to this fresh process."""
    place = Path(folder)
    variant = Variant.model_validate(json.loads((place / "variant.json").read_text()))
    shape = image_shape(variant)
    x = np.ones(shape, np.float32)
    before = anonymous_bytes()
    # The plain interpreter, as a program would use it.
    if len(levels) == 1 and isinstance(variant.instructions, TfliteFiles):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(place / variant.files[f"level_{levels[0]}"]), num_threads=1)
        runner = interpreter.get_signature_runner()
        detail = runner.get_input_details()[INPUT]
        runner(**{INPUT: np.ones(detail["shape"], np.float32)})
        return anonymous_bytes() - before
    adapter = open_variant(place, variant, Runtime(name="litert"))
    for level in levels:
        adapter.run({INPUT: x}, level)
    return anonymous_bytes() - before
