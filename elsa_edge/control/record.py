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

import contextlib
import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

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
    """A text file that grows by whole lines: what was written stays, however the process ends.

    A line that cannot be written (a full disk) ends the file, and nothing else: who runs a network is not to lose its
    outputs for the sake of a log.

    Attributes:
        problem: Why the file ended before its time, a sentence; None while it grows.
    """

    def __init__(self, path: Path) -> None:
        self.problem: str | None = None
        self._path, self._whole_bytes = path, 0
        try:
            # Closed by `close`, not here: it stays open for as long as the session runs.
            self._file = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise InputError(
                f"{path} exists already", fix="Choose another name, or remove it first"
            ) from error
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror})") from error

    def write(self, line: str) -> None:
        """Add a line, at once and whole; after the first that cannot be written nothing is added any more."""
        if self.problem is not None:
            return
        if self._file.closed:
            self.problem = f"{self._path} was closed; what ran since is not in it."
            return
        rest = line.encode("utf-8", errors="backslashreplace")
        whole_bytes = self._whole_bytes + len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            self._whole_bytes = whole_bytes
        except OSError as error:
            self.problem = f"{self._path} cannot be written any more ({error.strerror}) and ends here."
            with contextlib.suppress(OSError):
                self._file.truncate(self._whole_bytes)
            self.close()

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:  # a network's disk may say only now that it is full
            self.problem = self.problem or f"The end of {self._path} may be lost ({error.strerror})."

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
        self._writer = csv.writer(self)
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

    An infinite figure, as a deadline without end, is null.

    Args:
        path: The file, which must not exist.

    Raises:
        InputError: When the file exists or cannot be written.
    """

    def __call__(self, event: RunEvent) -> None:
        """Write one run."""
        record = {**_plain(event._asdict()), "late": event.late, "decision": _plain(event.decision._asdict())}
        record["rerouted"] = None if event.rerouted is None else _plain(event.rerouted._asdict())
        self.write(json.dumps(record, allow_nan=False) + "\n")


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with null for what JSON has no number for: a deadline without end is none."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }
