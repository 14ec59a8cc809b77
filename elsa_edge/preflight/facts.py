"""What preflight finds out, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LayerWork", "LevelBound", "Preflight", "VariantVerdict"]


@dataclass(frozen=True, slots=True)
class LevelBound:
    """A level, and how much faster than the dense network it can be at most."""

    name: str
    sparsity: float
    flops_fraction: float
    most_speedup: float


@dataclass(frozen=True, slots=True)
class LayerWork:
    """A weight that can be sparse.

    Attributes:
        name: Of the weight.
        shape: Its shape.
        work_share: Its share of the dense network's multiply-adds.
        densities: Share of it that is not zero at each level.
        granularities: Patterns that its shape allows, beside single weights and whole channels.
        dense_ms: What its layer is expected to take with dense kernels; None where nothing is known.
        level_ms: The same at each level, with the kernels that `ort-nested` would choose.
        break_even: Share of zeros from which a sparse kernel is faster; None where none ever is, or nothing is known.
    """

    name: str
    shape: tuple[int, ...]
    work_share: float
    densities: tuple[float, ...]
    granularities: tuple[str, ...] = ()
    dense_ms: float | None = None
    level_ms: tuple[float, ...] = ()
    break_even: float | None = None


@dataclass(frozen=True, slots=True)
class VariantVerdict:
    """Whether an exporter applies on the device, what it says, and whether the profile lists it.

    Attributes:
        level_ms: What an inference is expected to take at each level; empty where the exporter says nothing.
        basis: What the times come from.
    """

    name: str
    runtime: str
    applies: bool
    listed: bool
    reasons: tuple[str, ...]
    level_ms: tuple[float, ...] = ()
    basis: str | None = None


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
