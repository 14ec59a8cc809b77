"""What `elsa-edge` with one runtime takes on a board's disk: every wheel that travels there, packed and unpacked.

The wheels are those that `elsa-edge device wheels` fetches for the board's Python and C library; nothing is installed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from benchmarks.common import Result, Row, at_most, benchmark
from elsa_edge.deploy.facts import DeviceFacts, PythonFacts
from elsa_edge.deploy.packages import PackagePlan
from elsa_edge.deploy.wheels import collect_wheels
from elsa_edge.loading import default_cache

__all__ = ["main"]

_MB: Final = 1_000_000
_LIMIT_MB: Final = 150
_PYTHON: Final = PythonFacts("/usr/bin/python3", (3, 11, 2), (2, 36))
_PI: Final = DeviceFacts(
    arch="aarch64",
    machine="aarch64",
    os="linux",
    model="Raspberry Pi",
    cores=4,
    features=("neon",),
    memory_bytes=4 << 30,
    available_bytes=3 << 30,
    page_bytes=4096,
    governor="",
    home="/home/pi",
    tools=frozenset({"sha256sum"}),
    pythons=(_PYTHON,),
)


@benchmark("install")
def main(quick: bool) -> Result:  # noqa: ARG001 - every benchmark has it
    """Fetch what a 64-bit Raspberry Pi with Debian 12 needs for ONNX Runtime, and weigh it."""
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch:
        cache = default_cache() or Path(scratch)
        plan = PackagePlan("bring", _PYTHON, ("onnxruntime",), "to be weighed")
        wheels = collect_wheels(plan, _PI, cache, lambda _: None)
        rows: list[Row] = [
            {
                "wheel": wheel.path.name,
                "mb": wheel.size_bytes / _MB,
                "unpacked_mb": wheel.unpacked_bytes / _MB,
            }
            for wheel in sorted(wheels, key=lambda wheel: -wheel.unpacked_bytes)
        ]
    total = sum(row["unpacked_mb"] for row in rows)
    compilers = [row["wheel"] for row in rows if row["wheel"].startswith(("torch", "ninja", "cmake"))]
    return Result(
        rows=rows,
        claims=[
            at_most("elsa-edge with ONNX Runtime on a 64-bit Raspberry Pi, MB unpacked", _LIMIT_MB, total),
            at_most("of its wheels, torch or a compiler", 0, len(compilers)),
        ],
    )


if __name__ == "__main__":
    main()
