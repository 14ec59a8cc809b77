"""Mutation testing, bounded: random one-point changes of chosen files, each run against the tests that mirror the file.

    python -m benchmarks.mutants [--file NAME] [--count N] [--minutes M]        (make mutants)

Each change is tried in a fork of a process that has imported every foreign package, so it costs the tests and little
else; the changed source exists in memory only. A change that no test notices is a survivor; one that is equal in effect
is named with its reason in `benchmarks.mutants.changes.EQUAL` and does not count.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import json
import os
import signal
import sys
import time
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common import Result, at_least, benchmark
from benchmarks.mutants.changes import EQUAL, Change, sample
from elsa_edge.files import write_bytes

_STATE: Final = Path(".cache/mutants")
_IMPORTED: Final = _STATE / "imported.txt"
_LONGEST_S: Final = 120.0
_OWN: Final = frozenset({"elsa_edge", "benchmarks", "tests", "support", "conftest", "__main__"})
_EXAMPLES: Final = 25  # of a property; the suite tries more
_QUIET: Final = (
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)  # foreign packages are imported before pytest
_SPARSIFY: Final = ("tests/sparsify/test_selection.py", "tests/sparsify/test_oneshot.py")
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
    "verify": ("elsa_edge/verify.py", ("tests/test_verify.py",)),
    "tolerance": ("elsa_edge/proof/tolerance.py", ("tests/proof",)),
    "information": ("elsa_edge/proof/information.py", ("tests/proof",)),
    "batches": ("elsa_edge/proof/batches.py", ("tests/proof",)),
}  # fmt: skip


class _Changed:
    """Finds one module with a changed source, whatever lies on the disk."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """Return how to load the changed module; nothing for others."""
        if name != self._name:
            return None
        loader = _Loader(name, str(self._path), self._source)
        return importlib.util.spec_from_file_location(name, self._path, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> types.CodeType:  # noqa: ARG002 - one module only
        code: types.CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code


def _run_tests(path: str, source: str, tests: Sequence[str]) -> int:
    """Run tests over a changed file, stopping at the first that fails, and return pytest's exit code.

    Properties are tried with few examples and without looking for the smallest one. What foreign packages were
    imported is written down.
    """
    name = path.removesuffix(".py").replace("/", ".")
    for known in [known for known in sys.modules if known.split(".")[0] == "elsa_edge"]:
        del sys.modules[known]  # what this benchmark itself has imported
    sys.meta_path.insert(0, _Changed(name, Path(path).resolve(), source))
    import pytest
    from hypothesis import Phase, settings

    settings.register_profile(
        "mutants", max_examples=_EXAMPLES, phases=(Phase.explicit, Phase.generate), database=None
    )
    settings.load_profile("mutants")
    code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:faulthandler", *_QUIET, *tests])
    _IMPORTED.write_text("\n".join(known for known in sys.modules if known.split(".")[0] not in _OWN))
    return int(code)


def _warm() -> None:
    """Import what the tests of the last fork imported from others, so that the next forks need not."""
    for module in _IMPORTED.read_text().splitlines() if _IMPORTED.is_file() else ():
        if module not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(module)


def _noticed(path: str, source: str, tests: Sequence[str]) -> bool:
    """Run tests over a changed file in a fork; tell whether one failed, or did not end."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        code = 1
        try:
            said = os.open(_STATE / "last.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(said, 1)
            os.dup2(said, 2)
            code = _run_tests(path, source, tests)
        except BaseException:  # noqa: BLE001 - told below; nothing of it may run on in the fork
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(int(code))
    ends = time.monotonic() + _LONGEST_S
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _try(name: str, count: int, ends: float, row: dict[str, Any]) -> None:
    path, tests = FILES[name]
    source = Path(path).read_text(encoding="utf-8")
    if not row["tried"] and _noticed(path, source, tests):
        raise SystemExit(
            f"the tests of {path} fail without any change, see {_STATE}/last.txt: {' '.join(tests)}"
        )
    _warm()
    for change in sample(source, count)[row["tried"] :]:
        if time.monotonic() > ends:
            return
        row["tried"] += 1
        if _equal(change):
            row["equal"] += 1
        elif _noticed(path, change.source, tests):
            row["noticed"] += 1
        else:
            row["survivors"].append(f"{change.operator}: {change.before}  ->  {change.after}")
        write_bytes(_STATE / f"{name}.json", json.dumps(row, indent=1).encode())


def _equal(change: Change) -> bool:
    return change.after in EQUAL


@benchmark(
    "mutants",
    click.option("--file", "names", type=click.Choice(list(FILES)), multiple=True, help="Only these."),
    click.option("--count", type=int, default=25, help="Changes of each file."),
    click.option("--minutes", type=float, default=60.0, help="Begin no change after so long."),
)
def main(quick: bool, names: tuple[str, ...], count: int, minutes: float) -> Result:
    """Count which changes the tests notice. Carries on where the last run ended."""
    sys.path.insert(0, str(Path("tests").resolve()))
    _STATE.mkdir(parents=True, exist_ok=True)
    importlib.import_module("torch")
    ends = time.monotonic() + minutes * 60.0
    rows: list[dict[str, Any]] = []
    for name in names or FILES:
        file = _STATE / f"{name}.json"
        fresh = {"file": FILES[name][0], "tried": 0, "noticed": 0, "equal": 0, "survivors": []}
        row: dict[str, Any] = json.loads(file.read_text()) if file.is_file() and not quick else fresh
        _try(name, min(count, 2) if quick else count, ends, row)
        rows.append(row)
    tried = sum(row["tried"] - row["equal"] for row in rows)
    score = sum(row["noticed"] for row in rows) / tried if tried else None
    return Result(rows, [at_least("share of changes that the mirrored tests notice", 0.9, score)])


if __name__ == "__main__":
    main()
