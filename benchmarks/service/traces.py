"""Keep what a disturbance did as a trace of slow-downs, which replays on any ladder: small, and without decisions.

    python -m benchmarks.service.traces RECORDED.csv --levels-ms 1.2,2.5,5.2 -o tests/data/traces/bursts.csv

The recording is that of a part of `benchmarks.service`, or of `elsa-edge run --record`. Where the medians of its levels
are not given, the quietest quarter of each level's runs stands for them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from elsa_edge.control.trace import Sample, read_trace
from elsa_edge.files import write_bytes

__all__ = ["kept_text"]

_QUIET = 0.25


def kept_text(samples: Sequence[Sample]) -> str:
    """Return the CSV of a trace; columns that say nothing are left out."""
    columns = {
        "slowdown": [f"{sample.slowdown:.3f}" for sample in samples],
        "idle_ms": [f"{sample.idle_ms:.2f}" for sample in samples],
        "available_mb": [
            "" if sample.available_bytes is None else f"{sample.available_bytes / 1e6:.2f}"
            for sample in samples
        ],
        "temperature_c": [
            "" if sample.temperature_c is None else f"{sample.temperature_c:g}" for sample in samples
        ],
    }
    told = {name: cells for name, cells in columns.items() if any(cells)}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(told)
    writer.writerows(zip(*told.values(), strict=True))
    return stream.getvalue()


def _quiet_ms(recorded: Path) -> list[float]:
    with recorded.open(newline="", encoding="utf-8") as stream:
        rows = [(int(row["level"]), float(row["latency_ms"])) for row in csv.DictReader(stream)]
    levels = range(1 + max(level for level, _ in rows))
    seen = [[ms for level, ms in rows if level == k] or [1.0] for k in levels]
    return [float(np.quantile(times, _QUIET)) for times in seen]


@click.command()
@click.argument("recorded", type=click.Path(path_type=Path, exists=True))
@click.option("--levels-ms", help="Medians of the levels on a quiet device, sparsest first.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def main(recorded: Path, levels_ms: str | None, output: Path) -> None:
    """Turn a RECORDED trace into one of slow-downs."""
    medians = _quiet_ms(recorded) if levels_ms is None else [float(ms) for ms in levels_ms.split(",")]
    write_bytes(output, kept_text(read_trace(recorded, medians)).encode())


if __name__ == "__main__":
    main()
