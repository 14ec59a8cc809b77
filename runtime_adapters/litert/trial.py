"""Try a TFLite file in a process apart before this one opens it: LiteRT's parser can end the process it runs in.

    this process --a line of JSON--> helper --fork--> open the file, run every signature on zeros, exit
                 <--a line of JSON--

A damaged file that fits its hash ended the parser in 24 of 605 tries. The helper is started once and never opens a file
itself; where there is no fork it does, and is started again when it dies. What was tried is remembered in the cache, so
that a file is tried once a device, not once a start.
"""

from __future__ import annotations

import atexit
import os
import select
import subprocess
import sys
import threading
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic_core import from_json, to_json

from elsa_edge.errors import BundleError
from elsa_edge.files import sha256_of
from elsa_edge.running.children import start_child
from elsa_edge.runtime_adapters.derived import derived
from elsa_edge.runtime_adapters.litert.model_file import ModelFile

__all__ = ["require_tried", "try_file"]

_LONGEST_S: Final = 60.0
_MARKS_BYTES: Final = 1_000_000
_MARK: Final = "tried"
_tried: set[tuple[str, ...]] = set()


class _Helper:
    """The process that tries files, started when it is first needed, again after a fork of ours or its own end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = -1
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.stop)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer; what ended the process that tried is an answer too."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(to_json(question).decode() + "\n")
                process.stdin.flush()
                ready = select.select([process.stdout], [], [], _LONGEST_S)[0]
                line = process.stdout.readline() if ready else None
            except OSError:
                line = ""
            if line:
                answer: dict[str, Any] = from_json(line)
                return answer
            self.stop()
            return {"ended": "did not end" if line is None else f"ended with {process.returncode}"}

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._process = start_child(__name__)
            self._owner = os.getpid()
        return self._process

    def stop(self) -> None:
        """End the process."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
            self._process = None


_helper = _Helper()


def try_file(
    file: ModelFile, package: str, threads: int, *, packed: Path | None = None, stateful: bool = False
) -> frozenset[str]:
    """Open a file apart, run its signatures on zeros, and return the types of its inputs and outputs.

    Args:
        file: The model.
        package: The runtime.
        threads: Threads.
        packed: Where to write its packed weights; None opens it with the plain interpreter.
        stateful: Whether it keeps state from run to run.

    Raises:
        BundleError: When the runtime refuses it, does not end, or ends its process.
    """
    answer = _helper.ask(
        {
            "path": str(file.path),
            "keys": file.keys,
            "inputs": file.inputs,
            "outputs": file.outputs,
            "package": package,
            "threads": threads,
            "packed": packed and str(packed),
            "stateful": stateful,
        }
    )
    if "types" in answer:
        return frozenset(answer["types"])
    if "refused" in answer:
        raise BundleError(answer["refused"])
    raise BundleError(
        f"{package} {answer['ended']} when it tried {file.path.name} in a process apart: the file is damaged",
        fix="Build the bundle again, or fetch it again",
    )


def require_tried(file: ModelFile, package: str, threads: int, cache: Path | None, *, stateful: bool) -> None:
    """Try a file unless it was tried before, by this process or according to the cache.

    Raises:
        BundleError: As `try_file` does.
    """
    try:
        release = version(package)
    except PackageNotFoundError:
        release = "unknown"
    facts = (sha256_of(file.path), package, release)
    if facts in _tried:
        return
    refusal: list[BundleError] = []

    def attempt(folder: Path) -> None:
        try:
            try_file(file, package, threads, stateful=stateful)
        except BundleError as error:
            refusal.append(error)
            raise
        (folder / _MARK).write_bytes(b"")

    marked = derived(cache, "litert-tried", facts, attempt, limit_bytes=_MARKS_BYTES)
    if refusal:
        raise refusal[0]
    if marked.folder is None:
        try_file(file, package, threads, stateful=stateful)
    _tried.add(facts)


def _open_and_run(question: dict[str, Any]) -> dict[str, Any]:
    """Do what the other side asks, in the process that may die of it."""
    from elsa_edge.errors import ElsaError, first_line
    from elsa_edge.runtime_adapters.litert.cached import CachedEngine
    from elsa_edge.runtime_adapters.litert.engines import Engine, InterpreterEngine

    file = ModelFile(
        Path(question["path"]),
        tuple(question["keys"]),
        tuple(question["inputs"]),
        tuple(question["outputs"]),
    )
    try:
        engine: Engine
        if question["packed"]:
            engine = CachedEngine(file, question["threads"], Path(question["packed"]))
        else:
            engine = InterpreterEngine(
                question["package"], file, question["threads"], stateful=question["stateful"]
            )
        types: set[str] = set()
        for key in file.keys:
            inputs, outputs = engine.ports(key)
            types |= {dtype for _, dtype in (*inputs.values(), *outputs.values())}
            try:
                engine.run(key, {name: np.zeros(shape, dtype) for name, (shape, dtype) in inputs.items()})
            except (RuntimeError, ValueError):
                continue  # zeros may not suit the network; only what ends the process is looked for
        engine.close()
    except ElsaError as error:
        return {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises is its refusal
        return {"refused": f"{question['package']} cannot load {file.path.name} ({first_line(error)})"}
    return {"types": sorted(types)}


def _apart(question: dict[str, Any]) -> dict[str, Any]:
    """Answer from a fork, so that the helper outlives what happens there."""
    if not hasattr(os, "fork"):
        return _open_and_run(question)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with os.fdopen(writing, "wb") as stream:
                stream.write(to_json(_open_and_run(question)))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if content:
        answer: dict[str, Any] = from_json(content)
        return answer
    return {"ended": f"ended with signal {-status}" if status < 0 else f"ended with {status}"}


def main() -> None:
    """Answer questions until there are no more. What runtimes print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(to_json(_apart(from_json(line))).decode() + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
