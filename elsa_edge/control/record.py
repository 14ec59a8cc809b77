"""Write down what happened, as a trace that can be replayed: one CSV line per run, one JSON object per run.

The CSV has the columns of `elsa_edge.control.trace` (level, latency_ms, idle_ms, available_mb, ...) and, behind them,
what was decided and what the device said of its clock and power; `read_trace` reads the first and passes over the rest.
Free memory is written as it would be with the smallest level in use, because a replay may be at another level:

    latency_ms   = that of the whole inference at its level, where it was rerouted: as it would have been
    available_mb = (free + memory(level that ran) - memory(smallest level)) / 1e6

The last columns say of which bundle and device the runs are. They are filled in the first line only: an empty cell
means what stands above it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from elsa_edge.control.history import RunEvent
from elsa_edge.errors import InputError

__all__ = ["DECISION_COLUMNS", "ORIGIN_COLUMNS", "JsonLog", "TraceRecorder"]

_MB: Final = 1e6
_SEEN_COLUMNS: Final = (
    "level",
    "latency_ms",
    "idle_ms",
    "available_mb",
    "pressure_percent",
    "temperature_c",
)
DECISION_COLUMNS: Final = (
    "late",
    "chosen_by",
    "next_level",
    "reason",
    "feasible",
    "predicted_ms",
    "rerouted_ms",
    "rerouted_to",
    "throttled",
    "clock_share",
    "power_w",
)
ORIGIN_COLUMNS: Final = ("bundle", "device")


class _Lines:
    """A text file that grows by lines: what was written stays, however the process ends."""

    def __init__(self, path: Path) -> None:
        try:
            # Closed by `close`, not here: it stays open for as long as the session runs.
            self.stream: TextIO = path.open("x", encoding="utf-8", newline="", buffering=1)
        except FileExistsError as error:
            raise InputError(
                f"{path} exists already", fix="Choose another name, or remove it first"
            ) from error
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Close the file."""
        self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TraceRecorder(_Lines):
    """Records runs as a CSV trace for `elsa-edge simulate --trace`.

    Args:
        path: The file, which must not exist.
        memory_bytes: Memory of each level, (levels,), sparsest first.
        bundle: Identity of the bundle that runs (`Bundle.identity`), so that nobody takes the runs for another one's.
        device: Name of the device profile.

    Raises:
        InputError: When the file exists or cannot be written.
    """

    def __init__(
        self, path: Path, memory_bytes: Sequence[int], *, bundle: str | None = None, device: str | None = None
    ) -> None:
        super().__init__(path)
        self._above_smallest = [figure - min(memory_bytes) for figure in memory_bytes]
        self._writer = csv.writer(self.stream)
        self._origin = (bundle or "", device or "")
        self._writer.writerow((*_SEEN_COLUMNS, *DECISION_COLUMNS, *ORIGIN_COLUMNS))

    def __call__(self, event: RunEvent) -> None:
        """Write one run."""
        free, decision, rerouted = event.available_bytes, event.decision, event.rerouted
        self._writer.writerow(
            (
                event.level,
                f"{event.latency_ms if rerouted is None else rerouted.whole_ms:.4f}",
                f"{event.idle_ms:.4f}",
                "" if free is None else f"{(free + self._above_smallest[event.level]) / _MB:.3f}",
                "" if event.pressure_percent is None else event.pressure_percent,
                "" if event.temperature_c is None else event.temperature_c,
                int(event.late),
                event.chosen_by,
                decision.level,
                decision.reason,
                int(decision.feasible),
                "" if decision.predicted_ms is None else f"{decision.predicted_ms:.4f}",
                "" if rerouted is None else f"{event.latency_ms:.4f}",
                "" if rerouted is None else rerouted.level,
                "" if event.throttled is None else int(event.throttled),
                "" if event.clock_share is None else f"{event.clock_share:.4f}",
                "" if event.power_w is None else f"{event.power_w:.3f}",
                *self._origin,
            )
        )
        self._origin = ("", "")


class JsonLog(_Lines):
    """Records runs as JSON lines, for log collectors: one object per run, with the decision inside.

    Args:
        path: The file, which must not exist.

    Raises:
        InputError: When the file exists or cannot be written.
    """

    def __call__(self, event: RunEvent) -> None:
        """Write one run."""
        record = {**event._asdict(), "late": event.late, "decision": event.decision._asdict()}
        record["rerouted"] = None if event.rerouted is None else event.rerouted._asdict()
        self.stream.write(json.dumps(record, allow_nan=False) + "\n")
