"""What a third party implements: exporters that rewrite a canonical graph, adapters that run the result.

Entry points name classes without constructor arguments: in the group `elsa_edge.exporters` one that satisfies
`Exporter`, in the group `elsa_edge.runtime_adapters` one that satisfies `Adapter`; its key is the runtime's name in the
device profile and manifest (`onnxruntime`, `litert`). An adapter does not choose levels and knows no clock.

What an exporter tells its adapter is the variant's `instructions` (bundle/instructions.py); a third party's are of the
class `Other`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import LevelError
from elsa_edge.profiles.schema import DeviceProfile, Runtime
from elsa_edge.tensors import TensorSpec

if TYPE_CHECKING:  # needs the ONNX tools, which a device does not have
    from elsa_edge.graph.canonical import CanonicalGraph

__all__ = [
    "NO_CACHE",
    "Adapter",
    "CacheState",
    "CacheUse",
    "Exporter",
    "Forecast",
    "Forecaster",
    "LayerForecast",
    "MemoryUse",
    "Opened",
    "Preflight",
    "check_level",
]


@dataclass(frozen=True, slots=True)
class Preflight:
    """Whether an exporter applies to a graph on a device, and why.

    Attributes:
        applies: False when the variant would be wrong or useless there.
        reasons: Sentences for a person: what holds, what is missing.
    """

    applies: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerForecast:
    """What one layer is expected to take at batch 1.

    Attributes:
        name: Of the layer in the graph.
        dense_ms: With the runtime's dense kernel.
        level_ms: At each level with the kernel that the variant would use, sparsest first.
        break_even: Share of zeros from which a sparse kernel is faster than the dense one; None where none ever is.
    """

    name: str
    dense_ms: float
    level_ms: tuple[float, ...]
    break_even: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long inferences of a variant are expected to take before it exists.

    Attributes:
        level_ms: At each level, sparsest first.
        layers: The layers that were priced, in the network's order; empty where they all stay dense.
        basis: What the figures come from, for a person.
        timed_here: Whether networks were timed on this machine; otherwise all comes from usual rates.
    """

    level_ms: tuple[float, ...]
    layers: tuple[LayerForecast, ...]
    basis: str
    timed_here: bool


@runtime_checkable
class Forecaster(Protocol):
    """An exporter that also says how fast its variant will be. Exporters need not."""

    def forecast(self, graph: CanonicalGraph, profile: DeviceProfile) -> Forecast | None:
        """Return what inferences are expected to take on the device; None where nothing sensible can be said.

        Called only where `preflight` applies.
        """


@runtime_checkable
class Exporter(Protocol):
    """(canonical graph, device profile) -> variant. Exporters are pure apart from the files they write."""

    @property
    def name(self) -> str:
        """The entry-point name, which is also the variant's name."""

    @property
    def runtime(self) -> str:
        """Name of the runtime adapter that loads the variant."""

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Decide whether the variant makes sense, before any work is done."""

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write the variant's files into the existing, empty `folder` and describe them.

        Args:
            graph: The checked canonical graph; it is not modified.
            profile: The device it is built for.
            golden: Golden inputs, and the oracle's outputs at each level; an exporter may calibrate with the inputs.
            folder: Where to write. Paths in the returned variant are relative to it.

        Returns:
            The manifest entry, without sizes and hashes, which the bundle writer adds.

        Raises:
            ExportError: When the graph cannot be rewritten for this runtime; names the operator and the reason.
        """


def check_level(level: object, level_count: int) -> int:
    """Return `level` when there is one of that number. Negative numbers never count from the end.

    Raises:
        LevelError: When it is not an integer in 0..level_count-1.
    """
    if isinstance(level, bool) or not isinstance(level, (int, np.integer)) or not 0 <= level < level_count:
        raise LevelError(
            "This network has no such level",
            expected=f"an integer from 0 (sparsest) to {level_count - 1} (densest)",
            found=repr(level),
        )
    return int(level)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory that a variant needs, in bytes.

    Attributes:
        base_bytes: Needed at every level (graph, weights that all levels share).
        level_bytes: Added by each level while it is active, sparsest first.
    """

    base_bytes: int
    level_bytes: tuple[int, ...]

    def at(self, level: int) -> int:
        """Return the bytes needed to run at `level`."""
        return self.base_bytes + self.level_bytes[level]


class CacheUse(StrEnum):
    """What became of the wish to keep files that were derived on this device."""

    NOT_WANTED = "not wanted"
    USED = "used"
    BUILT = "built"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class CacheState:
    """Whether a variant runs from derived files.

    Attributes:
        use: Not wanted, used as found, built just now, or off although it was wanted.
        reason: Why it is off, a sentence without its full stop.
    """

    use: CacheUse
    reason: str | None = None

    def __str__(self) -> str:
        return self.use.value if self.reason is None else f"{self.use.value}: {self.reason}"


NO_CACHE: Final = CacheState(CacheUse.NOT_WANTED)


@runtime_checkable
class Opened(Protocol):
    """A loaded variant. Not thread-safe: one caller at a time."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name, without the level."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""

    @property
    def level_count(self) -> int:
        """How many levels the variant has."""

    @property
    def cache(self) -> CacheState:
        """Whether it runs from files that were derived on this device."""

    def run(self, inputs: Mapping[str, npt.NDArray[Any]], level: int) -> dict[str, npt.NDArray[Any]]:
        """Run one inference at `level`, switching first where needed.

        Raises:
            InputError: When an input's name, shape or type is wrong.
            LevelError: When the variant has no such level.
            InferenceError: When the runtime fails on inputs that fit; `OutOfMemoryError` for want of memory.
        """

    def memory(self) -> MemoryUse:
        """Return the memory need, base and per level, as far as files and tensors tell it."""

    def close(self) -> None:
        """Release the runtime and its memory. Closing twice is fine."""


@runtime_checkable
class Adapter(Protocol):
    """One door to a runtime: says whether a variant can run here, which choices it offers, and opens it."""

    def missing(self, variant: Variant) -> str | None:
        """Return what is missing on this machine to run a variant, as a sentence for people; None when nothing is."""

    def choices(self, variant: Variant) -> tuple[str, ...]:
        """Return what the profile's `runtime.choice` may name for a variant, the default first.

        Empty where there is nothing to choose.
        """

    def open(
        self, folder: Path, variant: Variant, *, level_count: int, runtime: Runtime, cache: Path | None
    ) -> Opened:
        """Load a variant.

        Args:
            folder: The bundle's folder; the files of `variant` are relative to it.
            variant: Its entry in the manifest.
            level_count: How many levels the bundle has.
            runtime: The device profile's runtime section: threads, arena, memory mapping.
            cache: Folder for files that the adapter may derive on the device, or None to derive nothing.

        Raises:
            BundleError: When a file is missing or damaged, or the instructions are of a kind of another adapter.
            RuntimeUnavailableError: When the runtime is not installed.
        """
