"""What a call of a nested operator costs beside its arithmetic: `python -m benchmarks.latency.calls [--json]`.

A network calls an operator for every layer, so what reading and checking the inputs costs is paid tens of times in an
inference. The native driver `cost` measures it with a stand-in for the runtime; here it is compiled and run.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import Claim, Result, Row, at_most, benchmark
from elsa_edge.runtime_adapters.kernels.build import CompileError, compile_driver

__all__ = ["call_claims", "call_rows"]


def call_rows() -> list[Row]:
    """Return a row per operator: `fixed_ns` (an empty batch), `least_ns` (one tile), heap `allocations` of the latter.

    Where there is no compiler, the only row says so.
    """
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as folder:
        try:
            program = compile_driver("cost", Path(folder))
        except CompileError as error:
            return [{"operator": "none", "note": str(error)}]
        done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def call_claims(rows: Sequence[Row]) -> list[Claim]:
    """Return the claims about the operator that costs most."""
    measured = [row for row in rows if "fixed_ns" in row]
    if not measured:
        return []
    slowest = max(measured, key=lambda row: float(row["fixed_ns"]))
    busiest = max(measured, key=lambda row: int(row["allocations"]))
    return [
        at_most(
            f"fixed cost of a nested operator's call, ns (most: {slowest['operator']})",
            150.0,
            slowest["fixed_ns"],
        ),
        at_most(f"heap allocations of a call (most: {busiest['operator']})", 3.0, busiest["allocations"]),
    ]


@benchmark("latency-calls")
def main(quick: bool) -> Result:  # noqa: ARG001 - it takes a second either way
    """Fixed cost of a call of each nested operator."""
    rows = call_rows()
    return Result(rows=rows, claims=call_claims(rows))


if __name__ == "__main__":
    main()
