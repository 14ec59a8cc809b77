"""What a measurement of the levels is worth to the controller: whether they differ at all, and whether it was calm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from elsa_edge.control.plan import LevelFacts, make_plan
from elsa_edge.control.policy import Policy

__all__ = ["nothing_to_adapt", "restless"]

_RESTLESS: Final = 2.0  # times the median, of the 95th percentile
# What makes the levels of a variant differ, where its own do not.
_INSTEAD: Final[Mapping[str, str]] = {
    "ort-switch": "ort-nested (kernels that skip zeros), or tflite-levels and ort-levels (memory)",
    "onnx-selector": "ort-nested (kernels that skip zeros)",
    "ort-nested": "sparser levels, or blocks: --granularity 4x1 or 1x4",
    "ort-levels": "levels without whole channels: --granularity channel",
    "tflite-levels": "levels without whole channels: --granularity channel; or --variant tflite-sparse",
}


def restless(levels: Sequence[LevelFacts]) -> str | None:
    """Return a sentence where single runs of a measurement took a multiple of its median; else None.

    Args:
        levels: As they were measured.
    """
    ratios = {level.name: level.p95_ms / level.p50_ms for level in levels if level.p50_ms and level.p95_ms}
    worst = max(ratios, key=ratios.__getitem__, default=None)
    if worst is None or ratios[worst] < _RESTLESS:
        return None
    return (
        f"Restless: one run in twenty took {ratios[worst]:.1f} times the median or longer at {worst}. If other work ran"
        " beside, measure again without it, or for longer (--seconds): until the controller has seen better, it leaves"
        " room for such runs."
    )


def nothing_to_adapt(levels: Sequence[LevelFacts], variant: str) -> str | None:
    """Return a sentence where the controller has no choice on this device, and what would change that; else None.

    Args:
        levels: As they were measured, sparsest first.
        variant: The variant that was measured.
    """
    if len(levels) < 2 or len(make_plan(levels, Policy()).candidates) > 1:
        return None
    instead = _INSTEAD.get(
        variant, "another variant, or levels without whole channels: --granularity channel"
    )
    return (
        f"Nothing to adapt: with {variant} no level is faster or smaller here than {levels[-1].name}, so the controller"
        f" stays there. What would change that: {instead}."
    )
