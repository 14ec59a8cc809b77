"""How exact float32 is for a network: its result in float32 against its result in float64, output by output.

    noise = max |f32(x) - f64(x)| / max |f32(x)|            at each level; an output beyond `LARGEST_NOISE` is refused

A deep network whose sums cancel may lie 0.1 % from its own exact result; another order of its sums then differs as
much, and is not wrong. With torch at hand (`elsa_edge.graph.against_torch`) the float64 result is torch's. Without it
(ONNX files) ONNX Runtime has no float64 convolution, and the same sensitivity is measured by moving every weight:

    f64(x) ~ f32(x) with w * (1 +- 2^-23)

An output that a sigmoid or softmax makes has steps besides: runtimes compute them around 0.5 or as shares of a sum, so
that numbers of size 1e-3 are only as exact as those of size 1. Its noise is at least 2^-23 / scale.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.errors import InputError
from elsa_edge.graph.multiplied import sets_sizes
from elsa_edge.proof.choosing import Trial
from elsa_edge.proof.information import Answers
from elsa_edge.proof.making import Candidate
from elsa_edge.proof.tolerance import LARGEST_NOISE
from elsa_edge.tensors import largest_difference

__all__ = [
    "exact_trial",
    "jittered",
    "noise_between",
    "noise_by_jitter",
    "noise_table",
    "why_drowned",
    "with_steps",
]

Array = npt.NDArray[Any]
_STEP: Final = 2.0**-23
_BOUNDED: Final = frozenset({"Sigmoid", "Tanh", "Softmax", "HardSigmoid", "Erf"})
_HANDED_ON: Final = frozenset(
    {"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Concat", "Split"}
)
_FEWEST: Final = 2  # scalars are constants of formulas, not weights


def noise_between(single: Mapping[str, Array], exact: Mapping[str, Array]) -> dict[str, float]:
    """Return the noise of each output; whole numbers have none."""
    noise = {}
    for name, array in single.items():
        if array.dtype.kind != "f":
            continue
        difference, scale = largest_difference(exact[name], array)
        noise[name] = difference / scale if scale > 0.0 else 0.0
    return noise


def noise_table(levels: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """Turn one mapping per level into one tuple per output."""
    names = {name for level in levels for name in level}
    return {name: tuple(level.get(name, 0.0) for level in levels) for name in sorted(names)}


def jittered(model: ir.Model, seed: int = 0) -> ir.Model:
    """Return a copy of which each float32 weight has moved by one or two of its last binary place.

    Numbers that set sizes (scales of a Resize) stay: another shape is no noise.
    """
    generator = np.random.default_rng(seed)
    copy = model.clone()
    for name, value in copy.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or value.dtype != ir.DataType.FLOAT or tensor.size < _FEWEST or sets_sizes(value):
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
    table = noise_table([noise_between(a, b) for a, b in zip(answers, moved, strict=True)])
    return with_steps(model, table, answers)


def exact_trial(
    candidates: Iterator[Candidate],
    choose: Callable[[Iterator[Candidate]], Trial],
    noise_of: Callable[[Trial], dict[str, tuple[float, ...]]],
    depending: Collection[str],
    *,
    advice: str,
) -> tuple[Trial, dict[str, tuple[float, ...]]]:
    """Return the most telling inputs on which float32 computes every output, and the noise of each.

    Args:
        candidates: Inputs to try.
        choose: Takes candidates until one tells enough.
        noise_of: Measures the noise on chosen inputs.
        depending: Outputs that are computed from inputs.
        advice: How to give real inputs.

    Raises:
        InputError: When there are none: on all of them float32 and float64 disagree about an output.
    """
    refusal: InputError | None = None
    while (first := next(candidates, None)) is not None or refusal is None:
        trial = choose(candidates if first is None else chain((first,), candidates))
        noise = noise_of(trial)
        refusal = why_drowned(noise, depending, advice=advice)
        if refusal is None:
            return trial, noise
    raise refusal


def why_drowned(
    noise: Mapping[str, tuple[float, ...]], depending: Collection[str], *, advice: str
) -> InputError | None:
    """Return the refusal of a network that float32 does not compute, or None where it does.

    Args:
        noise: Of each output at each level.
        depending: Outputs that are computed from inputs.
        advice: How to give real inputs.
    """
    worst = {name: max(noise.get(name, (0.0,))) for name in depending}
    drowned = max(worst, key=lambda name: worst[name], default="")
    if not drowned or worst[drowned] < LARGEST_NOISE:
        return None
    return InputError(
        f"On these inputs float32 does not compute {drowned}: another rounding moves it by {worst[drowned]:.0%} of its "
        "size, so a comparison would prove nothing",
        fix=f"{advice[:1].upper()}{advice[1:]}, leave out the level where sums cancel, or scale the network",
    )


def with_steps(
    model: ir.Model, table: Mapping[str, tuple[float, ...]], answers: Answers
) -> dict[str, tuple[float, ...]]:
    """Return a table of noise in which outputs of bounded functions have at least the noise of their steps."""
    found = dict(table)
    for output in model.graph.outputs:
        name = str(output.name)
        if not _is_bounded(output.producer()):
            continue
        scales = [largest_difference(level[name], level[name])[1] for level in answers]
        steps = [min(_STEP / scale, LARGEST_NOISE) if scale > 0.0 else 0.0 for scale in scales]
        before = found.get(name, (0.0,) * len(steps))
        found[name] = tuple(max(a, b) for a, b in zip(before, steps, strict=True))
    return found


def _is_bounded(node: ir.Node | None) -> bool:
    while node is not None and node.op_type in _HANDED_ON:
        # Of several parts the bounded one is the least exact.
        parts = [None if value is None else value.producer() for value in node.inputs]
        if node.op_type == "Concat":
            return any(_is_bounded(part) for part in parts)
        node = parts[0] if parts else None
    return node is not None and node.op_type in _BOUNDED
