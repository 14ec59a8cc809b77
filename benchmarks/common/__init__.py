"""What every benchmark shares.

claims.py     rows, claims and results
timing.py     interleaved timing, ratios with intervals
processes.py  memory, in processes of their own
context.py    machine, load and versions
report.py     tables and JSON
command.py    the command line around all of it

    @benchmark("latency")
    def main(quick: bool) -> Result:
        times = interleaved({"dense": run_dense, "ours": run_ours}, rounds=9 if quick else 41)
        ours = ratio(times["ours"], times["dense"])
        claim = at_most("ours <= 1.03x dense", 1.03, ours.value)
        return Result(rows=[{"variant": "ours", **ours.row()}], claims=[claim])

    if __name__ == "__main__":
        main()

Its names are those of this package.
"""

from benchmarks.common.claims import Claim, Result, Row, at_least, at_most
from benchmarks.common.command import RESULTS, benchmark, parts_option, stdout_for_result
from benchmarks.common.context import context, same_machine
from benchmarks.common.processes import anonymous_bytes, in_subprocess
from benchmarks.common.report import report_text
from benchmarks.common.timing import Ratio, Seconds, interleaved, median_ms, quantile_ms, ratio

__all__ = [
    "RESULTS",
    "Claim",
    "Ratio",
    "Result",
    "Row",
    "Seconds",
    "anonymous_bytes",
    "at_least",
    "at_most",
    "benchmark",
    "context",
    "in_subprocess",
    "interleaved",
    "median_ms",
    "parts_option",
    "quantile_ms",
    "ratio",
    "report_text",
    "same_machine",
    "stdout_for_result",
]
