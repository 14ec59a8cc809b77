"""One changed file against its tests: in a fork that has everything imported, with the changed source in memory only.

A change may make a test run for ever, so each fork is bounded: by the processor time it may use, which other work on
the machine does not shorten, and, because one that waits for a lock uses none, by how long it may stand still.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import os
import resource
import signal
import sys
import time
import traceback
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["STATE", "Outcome", "run_tests", "warm"]

STATE: Final = Path(".cache/mutants")
_IMPORTED: Final = STATE / "imported.txt"
_SAID: Final = STATE / "last.txt"
_STILL_S: Final = 120.0  # without a tick of processor time in any of the fork's processes: it waits for ever
_LOOK_S: Final = 0.05
_LOOK_AT_CLOCKS_S: Final = 5.0
_OWN: Final = frozenset({"elsa_edge", "benchmarks", "tests", "support", "conftest", "__main__"})
_EXAMPLES: Final = 25  # of a property; the suite tries more
# Foreign packages are imported before pytest.
_QUIET: Final = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How tests over a changed file ended: whether they noticed it, and the processor time they took, in seconds."""

    noticed: bool
    cpu_s: float


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


def warm() -> None:
    """Import what the tests of the last fork imported from others, so that the next forks need not."""
    for module in _IMPORTED.read_text().splitlines() if _IMPORTED.is_file() else ():
        if module not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(module)


def run_tests(path: str, source: str, tests: Sequence[str], longest_cpu_s: float) -> Outcome:
    """Run tests over a changed file in a fork; a test that fails has noticed it, and so has one that does not end.

    `longest_cpu_s` bounds the processor time of each process, in seconds.
    """
    child = os.fork()
    if child == 0:
        _in_fork(path, source, tests, longest_cpu_s)
    status, used = _wait(child)
    return Outcome(os.waitstatus_to_exitcode(status) != 0, used.ru_utime + used.ru_stime)


def _in_fork(path: str, source: str, tests: Sequence[str], longest_cpu_s: float) -> None:
    os.setpgid(0, 0)
    seconds = int(longest_cpu_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    code = 1
    try:
        said = os.open(_SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(said, 1)
        os.dup2(said, 2)
        code = _pytest(path, source, tests)
    except BaseException:  # noqa: BLE001 - told below; nothing of it may run on in the fork
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(int(code))


def _pytest(path: str, source: str, tests: Sequence[str]) -> int:
    """Run tests, stopping at the first that fails, and return pytest's exit code; write down what was imported.

    Properties are tried with few examples, the same ones for each change, and without looking for the smallest one.
    """
    name = path.removesuffix(".py").replace("/", ".")
    for known in [known for known in sys.modules if known.split(".")[0] == "elsa_edge"]:
        del sys.modules[known]  # what this benchmark itself has imported
    sys.meta_path.insert(0, _Changed(name, Path(path).resolve(), source))
    import pytest
    from hypothesis import Phase, settings

    settings.register_profile(
        "mutants",
        max_examples=_EXAMPLES,
        phases=(Phase.explicit, Phase.generate),
        database=None,
        derandomize=True,
        deadline=None,
    )
    settings.load_profile("mutants")
    code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:faulthandler", *_QUIET, *tests])
    _IMPORTED.write_text("\n".join(known for known in sys.modules if known.split(".")[0] not in _OWN))
    return int(code)


def _wait(child: int) -> tuple[int, resource.struct_rusage]:
    """Wait for a fork, and end it when none of its processes has moved for long."""
    clock, moved, looked = 0, time.monotonic(), 0.0
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what it has left running
            return status, used
        now = time.monotonic()
        if now - looked > _LOOK_AT_CLOCKS_S:
            looked, ticks = now, _ticks(child)
            if ticks != clock:
                clock, moved = ticks, now
            if now - moved > _STILL_S:
                os.killpg(child, signal.SIGKILL)
        time.sleep(_LOOK_S)


def _ticks(group: int) -> int:
    """Return the processor time of a group of processes, with children that ended, in ticks of the kernel."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name in brackets: state, parent, group, ..., and as 12th to 15th the times.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += sum(map(int, fields[11:15]))
    return total
