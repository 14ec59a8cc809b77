"""What every exporter offers: decide whether it applies, then rewrite a canonical graph into a variant.

Entry points in the group `elsa_edge.exporters` name a class without constructor arguments that satisfies `Exporter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from device_profiles.schema import DeviceProfile
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.graph.canonical import CanonicalGraph

__all__ = ["Exporter", "Preflight"]


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
