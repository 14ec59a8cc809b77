"""Will it be fast here? Asked before anything is trained or built: every installed exporter is shown the network.

    bound_k = 1 / flops_fraction_k        what is gained if zeros cost nothing and the rest runs as fast as before

A plain ONNX file gets levels by magnitude in memory, so that the answer needs no training. No time is predicted: how
much of the bound a device reaches, `elsa-edge profile` and `elsa-edge report --measure` find out on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from elsa_edge.errors import ElsaError, InputError, UsageError
from elsa_edge.levels import densities_by_weight
from elsa_edge.plugins.installed import find_exporter
from elsa_edge.plugins.registry import EXPORTERS, names
from elsa_edge.profiles.schema import DeviceProfile

if TYPE_CHECKING:
    from elsa_edge.graph.canonical import CanonicalGraph

__all__ = ["LayerWork", "LevelBound", "Preflight", "VariantVerdict", "examine", "graph_of"]

# Less than this much of the network's work that can be sparse is said to be little.
_LITTLE: Final = 0.5


@dataclass(frozen=True, slots=True)
class LevelBound:
    """A level, and how much faster than the dense network it can be at most."""

    name: str
    sparsity: float
    flops_fraction: float
    most_speedup: float


@dataclass(frozen=True, slots=True)
class LayerWork:
    """A weight that can be sparse: its shape, its share of the dense network's work, its density at each level."""

    name: str
    shape: tuple[int, ...]
    work_share: float
    densities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class VariantVerdict:
    """Whether an exporter applies on the device, what it says, and whether the profile lists it."""

    name: str
    runtime: str
    applies: bool
    listed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preflight:
    """Everything that is known before building.

    Attributes:
        device: Name of the profile.
        sparse_work: Share of the dense network's multiply-adds whose weights can be sparse.
        levels: Sparsest first.
        layers: Most work first.
        variants: Those that apply first, and of these the profile's.
        advice: What to change, sentences.
    """

    device: str
    sparse_work: float
    levels: tuple[LevelBound, ...]
    layers: tuple[LayerWork, ...]
    variants: tuple[VariantVerdict, ...]
    advice: tuple[str, ...]


def graph_of(model: Path, sparsities: Sequence[float]) -> CanonicalGraph:
    """Return the canonical graph in a file, or of a plain ONNX file with levels of these sparsities.

    Raises:
        InputError: When the file is no ONNX file.
        ExportError: When a plain ONNX file cannot take levels; names what it holds.
    """
    from elsa_edge.errors import ContractError
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.onnx_levels import nest_onnx

    if model.suffix.lower() in (".pt", ".pth", ".ckpt", ".bin", ".safetensors"):
        raise UsageError(
            f"{model} is a checkpoint, and its graph is not known yet",
            expected="an .onnx file",
            fix="Write it: elsa-edge sparsify, then elsa-edge export; or torch.onnx.export of the dense network",
        )
    if not model.is_file():
        raise InputError(f"There is no model at {model}", expected="an .onnx file")
    try:
        return CanonicalGraph.load(model)
    except ContractError as error:
        if "not a canonical graph" not in error.problem:
            raise
    graph, _ = nest_onnx(model, sparsities)
    return graph


def examine(graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
    """Ask every installed exporter about a network on a device.

    Args:
        graph: The canonical graph; it is not modified.
        profile: The device.
    """
    from elsa_edge.graph.flops import flops_fractions, multiply_adds

    total, works = multiply_adds(graph)
    fractions = flops_fractions(graph)
    levels = tuple(
        LevelBound(level.name, level.sparsity, fraction, 1.0 / max(fraction, 1e-9))
        for level, fraction in zip(graph.ladder, fractions, strict=True)
    )
    indices = {name: graph.index(name) for name in graph.nested}
    densities = densities_by_weight(indices, len(graph.ladder))
    layers = [
        LayerWork(name, indices[name].shape, works[name] / total if total else 0.0, densities[name])
        for name in indices
    ]
    layers.sort(key=lambda layer: -layer.work_share)
    variants = [_verdict(name, graph, profile) for name in names(EXPORTERS)]
    variants.sort(key=lambda verdict: (not verdict.applies, not verdict.listed, verdict.name))
    sparse_work = min(1.0, sum(layer.work_share for layer in layers))
    advice = _advice(profile, sparse_work, levels, variants)
    return Preflight(profile.name, sparse_work, levels, tuple(layers), tuple(variants), advice)


def _verdict(name: str, graph: CanonicalGraph, profile: DeviceProfile) -> VariantVerdict:
    listed = name in profile.variants
    try:
        exporter = find_exporter(name)
        found = exporter.preflight(graph, profile)
    except ElsaError as error:
        return VariantVerdict(name, "", applies=False, listed=listed, reasons=(str(error),))
    return VariantVerdict(name, exporter.runtime, found.applies, listed, found.reasons)


def _advice(
    profile: DeviceProfile,
    sparse_work: float,
    levels: Sequence[LevelBound],
    variants: Sequence[VariantVerdict],
) -> tuple[str, ...]:
    found = []
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
