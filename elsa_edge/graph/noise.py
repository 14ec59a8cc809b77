"""How exact float32 is for a network: its result in float32 against its result in float64, output by output.

    noise = max |f32(x) - f64(x)| / max |f32(x)|            at each level, at most `LARGEST_NOISE`

A deep network whose sums cancel may lie 0.1 % from its own exact result; another order of its sums then differs as
much, and is not wrong. With torch at hand (`elsa_edge.graph.against_torch`) the float64 result is torch's. Without it
(ONNX files) ONNX Runtime has no float64 convolution, and the same sensitivity is measured by moving every weight:

    f64(x) ~ f32(x) with w * (1 +- 2^-23)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.proof.information import Answers
from elsa_edge.proof.tolerance import LARGEST_NOISE
from elsa_edge.tensors import largest_difference

__all__ = ["jittered", "noise_between", "noise_by_jitter", "noise_table"]

Array = npt.NDArray[Any]
_STEP: Final = 2.0**-23
_FEWEST: Final = 2  # scalars are constants of formulas, not weights


def noise_between(single: Mapping[str, Array], exact: Mapping[str, Array]) -> dict[str, float]:
    """Return the noise of each output; whole numbers have none."""
    noise = {}
    for name, array in single.items():
        if array.dtype.kind != "f":
            continue
        difference, scale = largest_difference(exact[name], array)
        noise[name] = min(difference / scale, LARGEST_NOISE) if scale > 0.0 else 0.0
    return noise


def noise_table(levels: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """Turn one mapping a level into one tuple an output."""
    names = {name for level in levels for name in level}
    return {name: tuple(level.get(name, 0.0) for level in levels) for name in sorted(names)}


def jittered(model: ir.Model, seed: int = 0) -> ir.Model:
    """Return a copy of which each float32 weight has moved by one or two of its last binary place."""
    generator = np.random.default_rng(seed)
    copy = model.clone()
    for name, value in copy.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or value.dtype != ir.DataType.FLOAT or tensor.size < _FEWEST:
            continue
        array = np.asarray(tensor.numpy(), np.float64)
        signs = generator.choice((-_STEP, _STEP), array.shape)
        moved = (array * (1.0 + signs)).astype(np.float32)
        value.const_value = ir.tensor(moved, name=name)
    return copy


def noise_by_jitter(
    model: ir.Model, run: Callable[[ir.Model], Answers], answers: Answers
) -> dict[str, tuple[float, ...]]:
    """Return the noise of a graph without its torch form; `answers` are those of `run` on the graph itself."""
    moved = run(jittered(model))
    return noise_table([noise_between(a, b) for a, b in zip(answers, moved, strict=True)])
