"""Mutation testing, bounded: random one-point changes of chosen files, each run against the tests that mirror the file.

    python -m benchmarks.mutants [--file NAME] [--count N] [--seed S] [--minutes M]        (make mutants)

Each change is tried in a fork of a process that has imported every foreign package, so it costs the tests and little
else; the changed source exists in memory only. A change that no test notices is a survivor; one that is equal in effect
is named with its reason in `benchmarks.mutants.changes.EQUAL` and does not count.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common import Result, at_least, benchmark
from benchmarks.mutants.changes import EQUAL, sample
from benchmarks.mutants.running import STATE, run_tests, warm
from elsa_edge.files import write_bytes

# A change may take so many times the processor time of the tests over the file as it is, and these seconds.
_LONGEST: Final = 3.0
_LEAST_CPU_S: Final = 30.0
_UNCHANGED_CPU_S: Final = 600.0
_SPARSIFY: Final = ("tests/sparsify/test_selection.py", "tests/sparsify/test_oneshot.py")
_VERIFY: Final = (
    "tests/test_verify.py",
    "tests/test_rerouting.py::test_a_bundle_in_segments_is_proved_at_levels_and_switch_points",
    "tests/test_rerouting.py::test_a_chain_that_mixes_up_a_switch_point_is_refused",
)
# What is changed, and the tests that mirror it.
FILES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "levels": ("elsa_edge/levels.py", ("tests/test_levels.py",)),
    "segments": ("elsa_edge/nested_format/segments.py", ("tests/nested_format/test_segments.py",)),
    "selection": ("elsa_edge/sparsify/selection.py", ("tests/sparsify/test_selection.py",)),
    "allocation": ("elsa_edge/sparsify/allocation.py", _SPARSIFY),
    "patterns": ("elsa_edge/sparsify/patterns.py", _SPARSIFY),
    "golden": ("elsa_edge/bundle/golden.py", ("tests/bundle/test_golden.py",)),
    "manifest": ("elsa_edge/bundle/manifest.py", ("tests/bundle",)),
    "reader": ("elsa_edge/bundle/reader.py", ("tests/bundle",)),
    "files": ("elsa_edge/files/writing.py", ("tests/files",)),
    "decide": ("elsa_edge/control/decide.py", ("tests/control",)),
    "estimate": ("elsa_edge/control/estimate.py", ("tests/control",)),
    "plan": ("elsa_edge/control/plan.py", ("tests/control",)),
    "nesting": ("elsa_edge/graph/nesting.py", ("tests/graph/test_check.py", "tests/graph/test_export.py")),
    "check": ("elsa_edge/graph/check.py", ("tests/graph/test_check.py",)),
    "verify": ("elsa_edge/verify.py", _VERIFY),
    "tolerance": ("elsa_edge/proof/tolerance.py", ("tests/proof",)),
    "information": ("elsa_edge/proof/information.py", ("tests/proof",)),
    "batches": ("elsa_edge/proof/batches.py", ("tests/proof",)),
}  # fmt: skip


def _try(name: str, count: int, seed: int, ends: float, row: dict[str, Any]) -> None:
    if time.monotonic() > ends:
        return
    path, tests = FILES[name]
    source = Path(path).read_text(encoding="utf-8")
    if "cpu_s" not in row:
        unchanged = run_tests(path, source, tests, _UNCHANGED_CPU_S)
        if unchanged.noticed:
            raise SystemExit(
                f"the tests of {path} fail without any change, see {STATE}/last.txt: {' '.join(tests)}"
            )
        row["cpu_s"] = round(unchanged.cpu_s, 1)
    warm()
    changes, row["places"] = sample(source, count, seed)
    for change in changes[row["tried"] :]:
        if time.monotonic() > ends:
            return
        row["tried"] += 1
        if change.after in EQUAL:
            row["equal"] += 1
        elif run_tests(path, change.source, tests, _LEAST_CPU_S + _LONGEST * row["cpu_s"]).noticed:
            row["noticed"] += 1
        else:
            row["survivors"].append(f"{change.operator}: {change.before}  ->  {change.after}")
        write_bytes(STATE / f"{name}.json", json.dumps(row, indent=1).encode())


@benchmark(
    "mutants",
    click.option("--file", "names", type=click.Choice(list(FILES)), multiple=True, help="Only these."),
    click.option("--count", type=int, default=25, help="Changes of each file."),
    click.option("--seed", type=int, default=0, help="Which changes are drawn."),
    click.option("--minutes", type=float, default=60.0, help="Begin no change after so long."),
)
def main(quick: bool, names: tuple[str, ...], count: int, seed: int, minutes: float) -> Result:
    """Count which changes the tests notice. Carries on where the last run ended."""
    sys.path.insert(0, str(Path("tests").resolve()))
    STATE.mkdir(parents=True, exist_ok=True)
    importlib.import_module("torch")
    ends = time.monotonic() + minutes * 60.0
    rows: list[dict[str, Any]] = []
    for name in names or FILES:
        file = STATE / f"{name}.json"
        fresh = {"file": FILES[name][0], "tried": 0, "noticed": 0, "equal": 0, "survivors": [], "seed": seed}
        row: dict[str, Any] = json.loads(file.read_text()) if file.is_file() and not quick else fresh
        _try(name, min(count, 2) if quick else count, row["seed"], ends, row)
        rows.append(row)
    tried = sum(row["tried"] - row["equal"] for row in rows)
    score = sum(row["noticed"] for row in rows) / tried if tried else None
    return Result(rows, [at_least("share of changes that the mirrored tests notice", 0.9, score)])


if __name__ == "__main__":
    main()
