"""Try a TFLite file in a process apart before this one opens it: LiteRT's parser can end the process it runs in.

A damaged file that fits its hash ended the parser in 24 of 605 tries. What was tried is remembered in the cache, so
that a file is tried once a device, not once a start.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

from elsa_edge.errors import BundleError
from elsa_edge.files import sha256_of
from elsa_edge.running.apart import ENDED, Apart, serve
from elsa_edge.runtime_adapters.derived import derived
from elsa_edge.runtime_adapters.litert.model_file import ModelFile

__all__ = ["require_tried", "try_file"]

_MARKS_BYTES: Final = 1_000_000
_MARK: Final = "tried"
_tried: set[tuple[str, ...]] = set()


_helper = Apart(__name__)


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
        f"{package} {answer[ENDED]} when it tried {file.path.name} in a process apart: the file is damaged",
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


if __name__ == "__main__":
    serve(_open_and_run)
