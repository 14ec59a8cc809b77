"""kill -9 in the middle of every verb that writes: the destination is the old one or the new one, and a new run works.

    fork -> run the verb -> SIGKILL at a random moment of its usual time -> look -> run it again -> look for litter

The verb runs in a fork of a process that has imported everything, so 200 kills take minutes. A verb's usual time is
measured first; kills are uniform over it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["VERBS", "Verb", "killed"]


@dataclass(frozen=True)
class Verb:
    """A verb of the command line that writes something.

    Attributes:
        name: The verb.
        arguments: From a work folder to its arguments.
        destination: What it writes, relative to the work folder.
        whole: Tells whether a destination that is not the old one is complete; raises or returns False where not.
    """

    name: str
    arguments: Callable[[Path], Sequence[str]]
    destination: str
    whole: Callable[[Path], Any]


def _bundle(path: Path) -> Any:
    from elsa_edge.bundle import open_bundle

    return open_bundle(path)


def _graph(path: Path) -> Any:
    from elsa_edge.graph.canonical import CanonicalGraph

    return CanonicalGraph.load(path)


def _checkpoint(path: Path) -> Any:
    from elsa_edge.checkpoint import NestedCheckpoint

    return NestedCheckpoint.load(path)


def _arrays(path: Path) -> Any:
    import numpy as np

    with np.load(path) as file:
        return [file[name] for name in file.files]


def _profile(path: Path) -> Any:
    from elsa_edge.profiles import load_profile

    return load_profile(path)


_NET: Final = "benchmarks.reliability.small:network"
_REPAIR: Final = ("--model", _NET, "--steps", "4", "--mode", "weights", "--restart")
VERBS = (
    Verb(
        "sparsify",
        lambda w: [str(w / "dense.safetensors"), "--model", _NET, "--levels", "0.5,0", "-o", str(w / "o.safetensors")],
        "o.safetensors",
        _checkpoint,
    ),
    Verb(
        "nest",
        lambda w: [
            *(str(w / f"{name}.safetensors") for name in ("sparse", "dense")), "--model", _NET,
            "-o", str(w / "n.safetensors"),
        ],
        "n.safetensors",
        _checkpoint,
    ),
    Verb(
        "train",
        lambda w: [str(w / "train.yaml"), "--restart", "-o", str(w / "t.safetensors")],
        "t.safetensors",
        _checkpoint,
    ),
    Verb(
        "repair",
        lambda w: [
            str(w / "nested.safetensors"), "--data", str(w / "inputs.npz"), *_REPAIR,
            "-o", str(w / "r.safetensors"),
        ],
        "r.safetensors",
        _checkpoint,
    ),
    Verb(
        "export",
        lambda w: [str(w / "nested.safetensors"), "--model", _NET, "--input-shape", "1x16", "-o", str(w / "o.onnx")],
        "o.onnx",
        _graph,
    ),
    Verb(
        "build",
        lambda w: [str(w / "m.onnx"), "--device", "generic-x86-64", "--variant", "ort-switch", "-o", str(w / "o")],
        "o",
        _bundle,
    ),
    Verb(
        "profile",
        lambda w: [str(w / "b"), "--device", "generic-x86-64", "-o", str(w / "o.yaml")],
        "o.yaml",
        _profile,
    ),
    Verb(
        "evaluate",
        lambda w: [str(w / "e.onnx"), "--data", str(w / "data.npz")],
        "e.onnx",
        _graph,
    ),
    Verb(
        "run",
        lambda w: [str(w / "b"), "--input", str(w / "inputs.npz"), "-o", str(w / "o.npz"), "--cache", str(w / "cache")],
        "o.npz",
        _arrays,
    ),
    Verb("devices new", lambda w: ["board", "--force", "-o", str(w / "board.yaml")], "board.yaml", _profile),
    Verb("report", lambda w: [str(w / "b"), "-o", str(w / "o.html")], "o.html", lambda p: b"</html>" in p.read_bytes()),
)  # fmt: skip


def _digest(path: Path) -> str:
    """Return a hash of a file, or of a folder with everything in it; empty where there is nothing."""
    if not path.exists():
        return ""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        digest.update(str(file.relative_to(path)).encode())
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _start(verb: Verb, work: Path) -> int:
    """Run a verb in a fork and return its process id; it is the leader of a group, its children are in it."""
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    code = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        from elsa_edge.cli import cli

        cli([*verb.name.split(), *verb.arguments(work)])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def killed(verb: Verb, work: Path, points: int, seed: int = 0) -> dict[str, Any]:
    """Kill a verb at many moments.

    Returns:
        Counts: points, destinations that were old, new, or neither; new runs that failed; temporary files left.
    """
    chance = random.Random(f"{verb.name} {seed}")  # noqa: S311 - no secret
    began = time.monotonic()
    _, status = os.waitpid(_start(verb, work), 0)
    usual_s = time.monotonic() - began
    row: dict[str, Any] = {
        "verb": verb.name,
        "usual_s": round(usual_s, 2),
        "points": 0,
        "old": 0,
        "new": 0,
        "broken": 0,
    }
    row |= {"failed_again": int(status != 0), "litter": 0}
    destination = work / verb.destination
    for _ in range(points):
        before = _digest(destination)
        child = _start(verb, work)
        time.sleep(chance.uniform(0.0, usual_s))
        _kill(child)
        os.waitpid(child, 0)
        row["points"] += 1
        if _digest(destination) == before:
            row["old"] += 1
        else:
            try:
                good = verb.whole(destination) is not False
            except Exception:  # noqa: BLE001 - whatever it raises, the destination is not whole
                good = False
            row["new" if good else "broken"] += 1
        _, status = os.waitpid(_start(verb, work), 0)
        row["failed_again"] += status != 0
        litter = [path for path in work.rglob("*") if ".tmp" in path.name]
        row["litter"] += bool(litter)
        for path in litter:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return row
