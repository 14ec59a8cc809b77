"""What to change, in sentences: from what preflight found out, before anything is trained or built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from elsa_edge.preflight.facts import LayerWork, LevelBound, VariantVerdict
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["advise"]

# Less than this much of the network's work that can be sparse is said to be little.
_LITTLE: Final = 0.5
# A level that is expected to take more than this share of the dense network's time saves none worth having.
_SAME: Final = 0.95
_DENSE_8: Final = "ort-int8"


def advise(
    profile: DeviceProfile,
    sparse_work: float,
    levels: Sequence[LevelBound],
    layers: Sequence[LayerWork],
    variants: Sequence[VariantVerdict],
) -> tuple[str, ...]:
    """Return the sentences, the most important one first."""
    found = [*_about_times(profile, levels, variants), *_about_layers(levels, layers)]
    if sparse_work < _LITTLE:
        found.append(
            f"Only {sparse_work:.0%} of the work can be sparse: even without it the network would be at most "
            f"{1 / max(1 - sparse_work, 1e-9):.2g} times as fast."
        )
    if levels[0].most_speedup < 1.2:
        found.append(
            f"{levels[0].name} can be at most {levels[0].most_speedup:.2f} times as fast: cut it further."
        )
    refused = [verdict.name for verdict in variants if verdict.listed and not verdict.applies]
    if refused:
        found.append(
            f"{profile.name} lists {', '.join(refused)}, which would be left out; the reasons stand above."
        )
    more = [verdict.name for verdict in variants if verdict.applies and not verdict.listed]
    if more:
        found.append(f"Also possible here: {', '.join(more)} (elsa-edge build --variant NAME).")
    return tuple(found)


def _about_times(
    profile: DeviceProfile, levels: Sequence[LevelBound], variants: Sequence[VariantVerdict]
) -> list[str]:
    timed = [verdict for verdict in variants if verdict.applies and verdict.level_ms]
    if not timed:
        return ["How fast it will be here is not known: no installed exporter has rates for this processor."]
    dense_ms = min(verdict.level_ms[-1] for verdict in timed if "int8" not in verdict.name)
    best = min(timed, key=lambda verdict: verdict.level_ms[0])
    sentences = []
    if best.level_ms[0] > _SAME * dense_ms:
        sentences.append(
            f"Not faster: no variant is expected to run {levels[0].name} in less than the dense network's "
            f"{dense_ms:.3g} ms. Cut further, cut in blocks (--granularity 4x1) or whole channels."
        )
    else:
        slow = [
            level.name
            for level, time_ms in zip(levels, best.level_ms, strict=True)
            if time_ms > _SAME * dense_ms and level.sparsity > 0
        ]
        without = f"; {', '.join(slow)} would save no time" if slow else ""
        sentences.append(
            f"Faster: {best.name} is expected to run {levels[0].name} in {best.level_ms[0]:.3g} ms, the dense network "
            f"takes {dense_ms:.3g} ms{without}."
        )
    rival = next((verdict for verdict in timed if verdict.name == _DENSE_8), None)
    if rival is not None and rival.level_ms[-1] < best.level_ms[0]:
        sentences.append(
            f"A dense 8-bit network ({_DENSE_8}) is expected to take {rival.level_ms[-1]:.3g} ms: faster than every "
            "sparse level. Zeros then pay in memory, not in time."
        )
    budget_ms = profile.qos.latency_budget_ms
    if budget_ms is not None:
        fitting = [
            level.name for level, time_ms in zip(levels, best.level_ms, strict=True) if time_ms <= budget_ms
        ]
        sentences.append(
            f"Levels that are expected to fit the budget of {budget_ms:g} ms with {best.name}: "
            f"{', '.join(fitting) or 'none'}."
        )
    return sentences


def _about_layers(levels: Sequence[LevelBound], layers: Sequence[LayerWork]) -> list[str]:
    """Name the layers with much work that are not sparse enough at the sparsest level for a sparse kernel."""
    short = [
        layer
        for layer in layers
        if layer.break_even is not None
        and layer.work_share > 0.02
        and 1.0 - layer.densities[0] < layer.break_even
    ]
    if not short:
        return []
    named = ", ".join(
        f"{layer.name} ({1 - layer.densities[0]:.0%}, needs {layer.break_even:.0%})" for layer in short[:4]
    )
    rest = f" and {len(short) - 4} more" if len(short) > 4 else ""
    return [f"Too few zeros at {levels[0].name} for a sparse kernel: {named}{rest}."]
