"""Every installed exporter is shown the network and asked: does it apply here, and how fast would it be?

    bound_k = 1 / flops_fraction_k        what is gained if zeros cost nothing and the rest runs as fast as before

Beside the bound stand the times that exporters expect (`elsa_edge.plugins.Forecaster`): from the dense network timed
here where the device is of this machine's kind, from usual rates elsewhere. Each says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from elsa_edge.errors import ElsaError
from elsa_edge.levels import densities_by_weight
from elsa_edge.plugins.installed import find_exporter
from elsa_edge.plugins.registry import EXPORTERS, names
from elsa_edge.preflight.advice import advise
from elsa_edge.preflight.facts import LayerWork, LevelBound, Preflight, VariantVerdict
from elsa_edge.profiles.schema import DeviceProfile

if TYPE_CHECKING:
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.plugins import LayerForecast

__all__ = ["examine"]

# Blocks of output x input channels that a weight can be cut in.
_BLOCKS = {"4x1": (4, 1), "1x4": (1, 4), "4x4": (4, 4)}


def examine(
    graph: CanonicalGraph, profile: DeviceProfile, *, tell: Callable[[str], None] = lambda _: None
) -> Preflight:
    """Ask every installed exporter about a network on a device.

    Args:
        graph: The canonical graph; it is not modified.
        profile: The device.
        tell: Called with a line for each step.
    """
    from elsa_edge.graph.flops import flops_fractions, multiply_adds

    total, works = multiply_adds(graph)
    fractions = flops_fractions(graph)
    levels = tuple(
        LevelBound(level.name, level.sparsity, fraction, 1.0 / max(fraction, 1e-9))
        for level, fraction in zip(graph.ladder, fractions, strict=True)
    )
    variants: list[VariantVerdict] = []
    layer_times: dict[str, LayerForecast] = {}
    for name in names(EXPORTERS):
        tell(f"asking {name}")
        verdict, times = _verdict(name, graph, profile)
        variants.append(verdict)
        if not name.endswith("int8"):
            layer_times |= times
    variants.sort(key=lambda verdict: (not verdict.applies, not verdict.listed, verdict.name))
    layers = _layers(
        graph, {name: work / total if total else 0.0 for name, work in works.items()}, layer_times
    )
    sparse_work = min(1.0, sum(layer.work_share for layer in layers))
    advice = advise(profile, sparse_work, levels, layers, variants)
    return Preflight(profile.name, sparse_work, levels, layers, tuple(variants), advice)


def _layers(
    graph: CanonicalGraph, shares: Mapping[str, float], times: Mapping[str, LayerForecast]
) -> tuple[LayerWork, ...]:
    """Return the weights that can be sparse, most work first."""
    indices = {name: graph.index(name) for name in graph.nested}
    densities = densities_by_weight(indices, len(graph.ladder))
    found = []
    for name, index in indices.items():
        time = times.get(name)
        found.append(
            LayerWork(
                name,
                index.shape,
                shares[name],
                densities[name],
                _granularities(index.shape),
                None if time is None else time.dense_ms,
                () if time is None else time.level_ms,
                None if time is None else time.break_even,
            )
        )
    return tuple(sorted(found, key=lambda layer: -layer.work_share))


def _granularities(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the blocks that divide a weight of (outputs, inputs, ...) without a rest."""
    if len(shape) < 2:
        return ()
    return tuple(
        name for name, (rows, columns) in _BLOCKS.items() if shape[0] % rows == 0 and shape[1] % columns == 0
    )


def _verdict(
    name: str, graph: CanonicalGraph, profile: DeviceProfile
) -> tuple[VariantVerdict, dict[str, LayerForecast]]:
    listed = name in profile.variants
    try:
        exporter = find_exporter(name)
        found = exporter.preflight(graph, profile)
        forecast = exporter.forecast(graph, profile) if found.applies else None
    except ElsaError as error:
        return VariantVerdict(name, "", applies=False, listed=listed, reasons=(str(error),)), {}
    verdict = VariantVerdict(name, exporter.runtime, found.applies, listed, found.reasons)
    if forecast is None:
        return verdict, {}
    told = replace(verdict, level_ms=forecast.level_ms, basis=forecast.basis)
    return told, {layer.name: layer for layer in forecast.layers}
