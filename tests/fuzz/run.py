"""Try many mutated bundles and count what came of each; bounded by a number and by time.

    python -m fuzz.run [--kind manifest|data] [--first SEED] [--count N] [--seconds S]      (make fuzz)

refused     an error of ours, a sentence                     accepted    it opens and verifies
outside     it opens, and verify says that it is wrong       foreign     an exception of somebody else: a fault of ours
crash       the process that opened it died                  hang        it did not end in 20 s

Each mutation is tried in a child that serves many of them; one that dies takes only its own mutation with it.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LONGEST_S = 20.0
FAULTS = ("foreign", "crash", "hang")


def _try(folder: Path) -> tuple[str, str]:
    from elsa_edge.errors import ElsaError
    from elsa_edge.verify import verify_bundle

    try:
        result = verify_bundle(folder)
    except ElsaError as error:
        return "refused", str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault to report
        return "foreign", f"{type(error).__name__}: {error}"
    return ("accepted" if result.ok else "outside"), ""


def _serve(source: str, place: str, kind: str, pipe: Any) -> None:
    from fuzz.mutations import mutate

    while True:
        seed = pipe.recv()
        if seed is None:
            return
        folder = Path(place) / "bundle"
        changed = mutate(Path(source), folder, seed, kind)
        pipe.send((*_try(folder), changed))


def fuzz(
    source: Path, kind: str, first: int, count: int, seconds: float
) -> tuple[collections.Counter[str], list[str]]:
    """Return how often each came of it, and a line for each fault."""
    context = multiprocessing.get_context("spawn")
    counts: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    ends = time.monotonic() + seconds
    child, pipe = None, None
    with tempfile.TemporaryDirectory(prefix="elsa-edge-fuzz-") as place:
        for seed in range(first, first + count):
            if time.monotonic() > ends:
                break
            if child is None or pipe is None:
                pipe, other = context.Pipe()
                child = context.Process(target=_serve, args=(str(source), place, kind, other), daemon=True)
                child.start()
                other.close()
            pipe.send(seed)
            try:
                outcome = (
                    pipe.recv() if pipe.poll(LONGEST_S + (60 if not counts else 0)) else ("hang", "", "?")
                )
            except EOFError:
                outcome = ("crash", "", "?")
            if outcome[0] in ("hang", "crash"):
                child.kill()
                child.join()
                outcome = (outcome[0], f"exit {child.exitcode}", outcome[2])
                child = pipe = None
            counts[outcome[0]] += 1
            if outcome[0] in FAULTS:
                faults.append(f"{kind} {seed} ({outcome[2]}): {outcome[0]} {outcome[1][:300]}")
        if child is not None and pipe is not None:
            pipe.send(None)
            child.join(10)
    return counts, faults


def main() -> None:
    """Command line."""
    from support.bundles import bundle

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("manifest", "data"), action="append")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=120.0, help="for each kind")
    options = parser.parse_args()
    found = []
    for kind in options.kind or ("manifest", "data"):
        counts, faults = fuzz(bundle("two_inputs"), kind, options.first, options.count, options.seconds)
        sys.stdout.write(json.dumps({"kind": kind, **counts}) + "\n")
        found += faults
    sys.stdout.writelines(line + "\n" for line in found)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
