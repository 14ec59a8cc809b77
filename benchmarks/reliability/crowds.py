"""Everybody at once on an empty cache, and a new build under a running session.

python -m benchmarks.reliability.crowds BUNDLE VARIANT CACHE      one visitor: opens, runs, says what came of it
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.reliability.corpus import answers, unseen

__all__ = ["replaced", "together", "visit"]

_MODULE: Final = "benchmarks.reliability.crowds"
_IN_NAMESPACE: Final = ("unshare", "--pid", "--fork", "--mount-proc")


def visit(bundle: Path, variant: str, cache: Path) -> dict[str, Any]:
    """Open a variant with a cache and run every level; return how far its answers are and what became of the cache."""
    from elsa_edge import AdaptiveSession

    with AdaptiveSession.open(bundle, variant=variant, cache=cache) as session:
        found = [session.run(unseen(3), level=k) for k in range(len(session.ladder))]
        use = str(session._adapter.cache)  # noqa: SLF001 - what became of the cache is told only when it is off
    with AdaptiveSession.open(bundle, variant=variant, cache=False) as session:
        expected = [session.run(unseen(3), level=k) for k in range(len(session.ladder))]
    worst = max(float(np.abs(f[n] - e[n]).max()) for f, e in zip(found, expected, strict=True) for n in e)
    return {"difference": worst, "cache": use}


def together(bundle: Path, variant: str, kind: str, count: int) -> dict[str, Any]:
    """Let `count` visitors come at once to an empty cache, then one more, who should find it used.

    Args:
        bundle: The bundle.
        variant: The variant.
        kind: `processes`, `threads`, or `namespaces`: processes that cannot see each other's ids.
        count: How many.
    """
    with tempfile.TemporaryDirectory(prefix="elsa-edge-crowd-") as folder:
        cache = Path(folder) / "cache"
        seen: list[dict[str, Any]] = []
        if kind == "threads":
            threads = [
                threading.Thread(target=lambda: seen.append(visit(bundle, variant, cache)))
                for _ in range(count)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            command = [sys.executable, "-m", _MODULE, str(bundle), variant, str(cache)]
            prefix = _IN_NAMESPACE if kind == "namespaces" else ()
            started = [
                subprocess.Popen([*prefix, *command], stdout=subprocess.PIPE, text=True) for _ in range(count)
            ]
            for process in started:
                said, _ = process.communicate(timeout=600)
                if process.returncode == 0:
                    seen.append(json.loads(said.splitlines()[-1]))
        last = visit(bundle, variant, cache)
        litter = [path.name for path in cache.iterdir() if ".tmp" in path.name]
    return {
        "crowd": f"{count} {kind}",
        "variant": variant,
        "answered": len(seen),
        "right": sum(one["difference"] <= 1e-4 for one in seen),
        "cached_in_the_end": last["cache"],
        "litter": len(litter),
    }


def replaced(bundle: Path, variant: str) -> dict[str, Any]:
    """Exchange a bundle under a running session for one of zeros; return by how much its answers change.

    Every file of the new bundle has the old length and no byte of it: whoever reads it fails or answers otherwise.
    """
    from elsa_edge import AdaptiveSession
    from elsa_edge.files import atomic_directory

    with tempfile.TemporaryDirectory(prefix="elsa-edge-replaced-") as folder:
        place = Path(folder) / "bundle"
        shutil.copytree(bundle, place)
        expected = answers(bundle, variant)
        count = len(expected)
        generator = np.random.default_rng(11)
        with AdaptiveSession.open(place, variant=variant, cache=False) as session:
            inputs = {
                name: generator.standard_normal([8 if n is None else n for n in shape]).astype(dtype)
                for name, (shape, dtype) in session.inputs.items()
            }
            with atomic_directory(place, may_replace="manifest.json") as new:
                for file in bundle.rglob("*"):
                    target = new / file.relative_to(bundle)
                    target.mkdir(exist_ok=True) if file.is_dir() else target.write_bytes(
                        bytes(file.stat().st_size)
                    )
            found = [session.run(inputs, level=k) for k in (*range(count), *reversed(range(count)))]
        wanted = [*expected, *reversed(expected)]
        worst = max(float(np.abs(f[n] - e[n]).max()) for f, e in zip(found, wanted, strict=True) for n in e)
    return {"variant": variant, "largest_change_under_a_new_build": worst}


if __name__ == "__main__":
    print(json.dumps(visit(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))))
    os._exit(0)  # runtimes say good-bye on stdout
