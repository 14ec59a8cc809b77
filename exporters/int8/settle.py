"""Which layers stay in float32 because the answers need it: none, or the ends, or those that cost most by measurement.

cost(layers) = rms(outputs with only these in 8 bits - outputs) / rms(outputs)        at the densest level, a few inputs

What errors cost adds up, nearly: so the layers that cost most alone are the ones to leave out, a few more each time
until the answers stay. At most a quarter of them: a network that needs more is not one for 8 bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.int8.candidates import Mix
from elsa_edge.exporters.int8.judge import Judgement, judge, open_session
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.int8.samples import pieces
from elsa_edge.exporters.int8.write import write8
from elsa_edge.exporters.nested.file import join, save
from elsa_edge.files import scratch_folder
from elsa_edge.graph.class_axis import class_axes
from elsa_edge.graph.names import LEVEL_INPUT

__all__ = ["settle"]

_MOST_GROUPS: Final = 32  # neighbours are measured together beyond it
_PIECES: Final = 2  # of inputs
_LARGEST_SHARE: Final = 4  # a quarter of the groups

Array = npt.NDArray[Any]
Positions = frozenset[int]


def settle(plan: Plan8, samples: Mapping[str, Array], good: Callable[[Judgement], bool]) -> str:
    """Put layers back to float32, in the plan and with the reason, until every level answers as it should.

    Args:
        plan: With every layer in 8 bits; what stays of it is refused elsewhere where no choice is good.
        samples: Calibration inputs.
        good: Whether a level is still the same network.

    Returns:
        What was done, for the notes.
    """
    if not plan.layers:
        return "nothing"
    judged = _judge(plan, samples)
    if all(map(good, judged)):
        return "everything"
    worst = min(one.agreement for one in judged)
    plan.leave_out(plan.ends(), f"with all layers in 8 bits only {worst:.1%} of the answers stayed the same")
    if not plan.layers or all(map(good, _judge(plan, samples))):
        return "inner layers"
    costs = _costs(plan, samples)
    ranked = sorted(costs, key=lambda group: costs[group], reverse=True)
    count = before = 0
    for count in _doubling(max(1, len(ranked) // _LARGEST_SHARE)):
        for group in ranked[before:count]:
            plan.leave_out(
                group & plan.layers.keys(),
                f"in 8 bits it alone moves the outputs by {costs[group]:.2%} of their size",
            )
        before = count
        if not plan.layers or all(map(good, _judge(plan, samples))):
            break
    return f"inner layers without the {count} that cost most" if count else "inner layers"


def _doubling(most: int) -> list[int]:
    """Return 1, 2, 4 ... and the most."""
    counts = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*counts, most] if most else []


def _judge(plan: Plan8, samples: Mapping[str, Array]) -> list[Judgement]:
    with scratch_folder() as temporary:
        write8(plan, [Mix(frozenset(plan.layers))] * plan.count, None, Path(temporary))
        axes = class_axes(plan.graph.model)
        return judge(Path(temporary, "model.onnx"), plan.models, samples, axes)


def _costs(plan: Plan8, samples: Mapping[str, Array]) -> dict[Positions, float]:
    """Return what each group of layers costs alone."""
    last = plan.count - 1
    expected = _run(open_session(ir.to_proto(plan.models[last]).SerializeToString()), samples, {})
    costs = {}
    for group in _groups(sorted(plan.layers)):
        alone = plan.only(group)  # coded anew: between layers that are both in 8 bits numbers may stay codes
        if not alone.layers:
            continue
        tensors, parts = alone.tensors()
        branch = alone.branch(last, frozenset(alone.layers))
        whole = join([(0, branch)], tensors, plan.count, plan.graph.model.graph)
        with scratch_folder() as temporary:
            save({"model": whole}, Path(temporary), parts)
            session = open_session(Path(temporary, "model.onnx"))
            found = _run(session, samples, {LEVEL_INPUT: np.array(last, np.int64)})
        costs[group] = max(_moved(found[name], value) for name, value in expected.items())
    return costs


def _groups(positions: Sequence[int]) -> list[Positions]:
    """Return what is measured together: each layer alone, or neighbours, so that there are not too many."""
    size = -(-len(positions) // _MOST_GROUPS)
    return [frozenset(positions[start : start + size]) for start in range(0, len(positions), size)]


def _run(session: Any, samples: Mapping[str, Array], more: Mapping[str, Array]) -> dict[str, Array]:
    names = [output.name for output in session.get_outputs()]
    feeds = itertools.islice(pieces(samples, session), _PIECES)
    parts = [session.run(names, {**feed, **more}) for feed in feeds]
    return {name: np.concatenate([np.ravel(part[k]) for part in parts]) for k, name in enumerate(names)}


def _moved(found: Array, expected: Array) -> float:
    size = float(np.sqrt(np.square(expected, dtype=np.float64).mean())) if expected.size else 0.0
    gap = float(np.sqrt(np.square(found.astype(np.float64) - expected).mean())) if expected.size else 0.0
    return gap / size if size > 0 else gap
