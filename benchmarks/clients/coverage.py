"""Which branches of the controller the golden traces reach: `python -m benchmarks.clients.coverage [--json]`.

A twin of the controller in another language that passes the traces has been through all of them. Counted are the
functions that the twins have; what only the Python session asks of a plan is named as such.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import coverage

from benchmarks.common import Result, Row, at_least, at_most, benchmark

__all__ = ["Branches", "reached"]

_CONTROL: Final = Path(__file__).resolve().parents[2] / "elsa_edge" / "control"
_FILES: Final = [str(_CONTROL / f"{name}.py") for name in ("begin", "climb", "decide", "estimate", "plan")]
# Joins a ladder with a table: each client's own tests do that. And levels that cannot be loaded are left out of a plan
# by the Python session alone, in one branch.
_NOT_IN_TRACES: Final = {"level_facts"}
_PYTHON_ALONE: Final = {"make_plan": 1}


class Branches:
    """Counts what is reached, trace by trace."""

    def __init__(self) -> None:
        # The module under test must not be imported before: importing it is no branch of it, but is counted as lines.
        self._coverage = coverage.Coverage(branch=True, data_file=None, include=_FILES, config_file=False)
        self._count = 0

    def add(self, trace: dict[str, Any]) -> bool:
        """Play a trace; return whether it went where none before it did."""
        from benchmarks.clients.traces import play

        self._coverage.start()
        for _ in play(trace):
            pass
        self._coverage.stop()
        data, before = self._coverage.get_data(), self._count
        self._count = sum(len(data.arcs(file) or ()) for file in _FILES)
        return self._count > before

    def functions(self) -> list[Row]:
        """Return one row per function with branches in it: how many, and from which line to which none went."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            self._coverage.json_report(outfile=str(report))
            files = json.loads(report.read_text())["files"]
        return [
            {
                "module": Path(file).stem,
                "function": name,
                "branches": told["summary"]["num_branches"],
                "reached": told["summary"]["covered_branches"],
                "missing": told["missing_branches"],
            }
            for file, found in sorted(files.items())
            for name, told in found["functions"].items()
            if told["summary"]["num_branches"] and name not in _NOT_IN_TRACES
        ]


def reached() -> list[Row]:
    """Return the rows of the committed traces."""
    from benchmarks.clients.traces import GOLDEN

    branches = Branches()
    for trace in json.loads(GOLDEN.read_text()):
        branches.add(trace)
    return branches.functions()


@benchmark("clients-coverage")
def main(quick: bool) -> Result:
    """Count the branches of the controller that the golden traces reach; what is not reached is named."""
    del quick
    rows = reached()
    total, found = (sum(row[key] for row in rows) for key in ("branches", "reached"))
    alone = sum(_PYTHON_ALONE.values())
    return Result(
        rows,
        [
            at_most("branches of the controller that no golden trace reaches, beside the Python session's own", 0,
                    total - found - alone),
            at_least("branches that are reached", total - alone, found),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
