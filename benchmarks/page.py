"""A report's page in a real browser: its size, how fast it is there, its console and its requests.

    python -m benchmarks.page [--report FILE.html]

Three pages: a report of this machine (`--report`, else one of the quickstart that lies in quickstart/), one with as
much in it as a large network brings (6 variants, 6 levels, 300 layers, a recorded run), and one of a single level.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Final

import click
import numpy as np

from benchmarks.browser import browse, loading_ms, requests_of
from benchmarks.common import Result, Row, at_most, benchmark
from elsa_edge.report.page import page
from elsa_edge.report.record import LayerFact, LayerTime, LevelFact, Record, Run, Window
from elsa_edge.report.record import Row as LevelRow

__all__ = ["made", "main"]

_WIDTHS: Final = (390, 1440)
_LARGEST_BYTES: Final = 3_000_000
_LONGEST_MS: Final = 1_000.0
_LOADS: Final = 5
_QUICKSTART: Final = Path("quickstart/report.html")


def made(variants: int, levels: int, layers: int, runs: int) -> Record:
    """Return a record of that size, with made-up figures."""
    random = np.random.default_rng(0)
    names = tuple(f"s{90 - 10 * level}" for level in range(levels))
    densities = tuple(float(share) for share in np.linspace(0.1, 1.0, levels))
    times = random.uniform(0.01, 3.0, (variants, layers, levels))
    rows = [
        LevelRow(
            variant=f"variant-{variant}",
            runtime="onnxruntime",
            precision="float32",
            level=level,
            memory_bytes=int(random.integers(10**6, 10**8)),
            p50_ms=float(times[variant, :, level].sum()),
            p90_ms=1.1 * float(times[variant, :, level].sum()),
            p95_ms=1.2 * float(times[variant, :, level].sum()),
            p99_ms=1.3 * float(times[variant, :, level].sum()),
        )
        for variant in range(variants)
        for level in range(levels)
    ]
    return Record(
        name="network",
        device="board",
        made_utc="2026-01-01T00:00:00+00:00",
        budget_ms=400.0,
        levels=tuple(
            LevelFact(name=name, density=share, accuracy=0.5 + share / 3, accuracy_samples=1000)
            for name, share in zip(names, densities, strict=True)
        ),
        rows=tuple(rows),
        layers=tuple(
            LayerFact(name=f"blocks.{number}.conv.weight", shape=(64, 64, 3, 3), densities=densities)
            for number in range(layers)
        ),
        layer_times=tuple(
            LayerTime(
                variant=f"variant-{variant}",
                name=f"blocks.{number}.conv.weight",
                kind="NestedConv",
                level_ms=tuple(float(ms) for ms in times[variant, number]),
            )
            for variant in range(variants)
            for number in range(layers)
        ),
        sustained_variant="variant-0",
        sustained_level=levels - 1,
        sustained=tuple(
            Window(until_s=10.0 * k, p50_ms=8.0 + k % 3, p95_ms=9.0, runs=5) for k in range(1, 61)
        ),
        runs=tuple(
            Run(
                at_ms=30.0 * k,
                level=int(k / 50) % levels,
                latency_ms=float(random.uniform(5, 50)),
                reason="hold",
            )
            for k in range(1, runs)
        ),
    )


def _looked_at(name: str, file: Path, folder: Path, loads: int) -> list[Row]:
    rows: list[Row] = []
    for width in _WIDTHS:
        done = browse(file, folder, "--dump-dom", f"--window-size={width},1200")
        rows.append(
            {
                "page": name,
                "width_px": width,
                "bytes": file.stat().st_size,
                "loaded_ms": statistics.median(loading_ms(file, folder, width) for _ in range(loads)),
                "console_lines": done.stderr.count("CONSOLE"),
                "requests": len(requests_of(folder)),
            }
        )
    return rows


@benchmark(
    "page",
    click.option("--report", type=click.Path(exists=True, path_type=Path), help="A page of this machine."),
)
def main(quick: bool, report: Path | None) -> Result:
    """Size, speed, console and requests of reports in a headless Chromium, at the width of a phone and of a desktop."""
    rows: list[Row] = []
    given = report or (_QUICKSTART if _QUICKSTART.is_file() else None)
    records = {"large": made(6, 6, 300, 2_000), "small": made(1, 1, 3, 2)}
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary:
        folder = Path(temporary)
        pages = {} if given is None else {"of this machine": given}
        for name, record in records.items():
            pages[name] = folder / f"{name}.html"
            pages[name].write_text(page(record), encoding="utf-8")
        for name, file in pages.items():
            rows += _looked_at(name, file, folder, 1 if quick else _LOADS)
    return Result(
        rows,
        [
            at_most("largest page, bytes", _LARGEST_BYTES, max(row["bytes"] for row in rows)),
            *(
                at_most(
                    f"page {name}: ms until it is laid out (median of loads, the slower width)",
                    _LONGEST_MS,
                    max(row["loaded_ms"] for row in rows if row["page"] == name),
                )
                for name in pages
            ),
            at_most("lines on the console", 0, max(row["console_lines"] for row in rows)),
            at_most("requests to anywhere", 0, max(row["requests"] for row in rows)),
        ],
    )


if __name__ == "__main__":
    main()
