"""What a third party implements: exporters that rewrite a canonical graph, adapters that run the result.

Entry points in the group `elsa_edge.exporters` name a class without constructor arguments that satisfies `Exporter`.
Entry points in the group `elsa_edge.runtime_adapters` name an `AdapterOpener`; the key is the runtime's name in the
device profile and manifest (`onnxruntime`, `litert`). An adapter does not choose levels and knows no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import LevelError
from elsa_edge.profiles.schema import DeviceProfile, Runtime
from elsa_edge.tensors import TensorSpec

if TYPE_CHECKING:  # needs the ONNX tools, which a device does not have
    from elsa_edge.graph.canonical import CanonicalGraph

__all__ = ["AdapterOpener", "Exporter", "MemoryUse", "Preflight", "RuntimeAdapter", "check_level"]


@dataclass(frozen=True, slots=True)
class Preflight:
    """Whether an exporter applies to a graph on a device, and why.

    Attributes:
        applies: False when the variant would be wrong or useless there.
        reasons: Sentences for a person: what holds, what is missing.
    """

    applies: bool
    reasons: tuple[str, ...] = ()


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


@runtime_checkable
class RuntimeAdapter(Protocol):
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

    def run(self, inputs: Mapping[str, npt.NDArray[Any]], level: int) -> dict[str, npt.NDArray[Any]]:
        """Run one inference at `level`, switching first where needed.

        Raises:
            InputError: When an input's name, shape or type is wrong.
            LevelError: When the variant has no such level.
        """

    def memory(self) -> MemoryUse:
        """Return the memory need, base and per level, as far as files and tensors tell it."""

    def close(self) -> None:
        """Release the runtime and its memory. Closing twice is fine."""


class AdapterOpener(Protocol):
    """Open one variant of a bundle."""

    def __call__(
        self, folder: Path, variant: Variant, runtime: Runtime, cache: Path | None
    ) -> RuntimeAdapter:
        """Load a variant.

        Args:
            folder: The bundle's folder; the files of `variant` are relative to it.
            variant: Its entry in the manifest.
            runtime: The device profile's runtime section: threads, arena, memory mapping.
            cache: Folder for files that the adapter may derive on the device, or None to derive nothing.
        """
