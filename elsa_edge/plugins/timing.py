"""What a runtime adapter may offer beside `Adapter`: to tell how long each operator of a loaded variant takes.

By the runtime's own profiling, never by our clock around parts. Adapters need not have it; a report then says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from elsa_edge.bundle.manifest import Variant
from elsa_edge.plugins.protocols import Opened
from elsa_edge.profiles.schema import Runtime

__all__ = ["OperatorTime", "OperatorTimer"]


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator of one run.

    Attributes:
        name: As the runtime calls it.
        kind: Its type, in the runtime's words: `Conv`, `NestedConv`.
        took_ms: How long it took, without operators inside it.
    """

    name: str
    kind: str
    took_ms: float


@runtime_checkable
class OperatorTimer(Protocol):
    """An adapter that also tells how long each operator takes."""

    def open_timed(
        self,
        folder: Path,
        variant: Variant,
        *,
        level_count: int,
        runtime: Runtime,
        cache: Path | None,
        into: Path,
    ) -> Opened:
        """Load a variant like `Adapter.open`, and note the times of operators.

        Args:
            folder: The bundle's folder.
            variant: Its entry in the manifest.
            level_count: How many levels the bundle has.
            runtime: The device profile's runtime section.
            cache: Folder for files that the adapter may derive, or None.
            into: Existing, empty folder for what is noted.
        """

    def operator_times(self, into: Path) -> Sequence[Sequence[OperatorTime]]:
        """Return what was noted in the folder `into`, once the variant is closed: each run's operators, in their order.

        Raises:
            InferenceError: When the runtime noted nothing, or what cannot be read.
        """
