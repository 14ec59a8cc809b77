"""Try many mutated bundles and count what came of each; bounded by a number and by time.

    python -m benchmarks.reliability.fuzzing [--kind manifest|data] [--first SEED] [--count N] [--seconds S]

refused      an error of ours, a sentence
accepted     it verifies, and unseen inputs get the old answers
outside      verify says that its numbers are wrong          foreign    an exception of somebody else: a fault of ours
different    verified, but unseen inputs are answered otherwise, by more than twice the contract
crash        the process that opened it died                 hang       it did not end in 20 s
escape       a file outside the bundle and the runtimes was opened

Each mutation is tried in a child that serves many of them; one that dies takes only its own mutation with it. A mutated
file is verified with the variant it belongs to, anything else with one variant after the other.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.reliability.corpus import answers, build
from benchmarks.reliability.mutations import Original, mutate

__all__ = ["FAULTS", "Fuzzer"]

LONGEST_S: Final = 20.0
FAULTS: Final = ("foreign", "different", "crash", "hang", "escape")


def _variants(bundle: Any, original: Any, seed: int) -> list[Any]:
    """Return the variants whose description or files are others than in the original, or one when none is."""
    before = {variant.name: variant for variant in original.manifest.variants}
    hashes = {entry.path: entry.sha256 for entry in original.manifest.files}
    changed = {entry.path for entry in bundle.manifest.files if hashes.get(entry.path) != entry.sha256}
    variants = bundle.manifest.variants
    touched = [
        v for v in variants if before.get(v.name) != v or changed.intersection(map(str, v.files.values()))
    ]
    return touched or [variants[seed % len(variants)]]


class _Judge:
    """Opens and verifies a mutated bundle and compares it with the original on unseen inputs."""

    def __init__(self, source: Path) -> None:
        from elsa_edge.bundle import open_bundle

        self.original = open_bundle(source)
        self._answers: dict[str, list[dict[str, Any]]] = {}
        self._source = source

    def outcome(self, folder: Path, seed: int) -> tuple[str, str]:
        """Return the outcome and a sentence."""
        from elsa_edge.errors import ElsaError
        from elsa_edge.loading import open_for, why_not_loadable
        from elsa_edge.verify import check_variant

        try:
            bundle, profile = open_for(folder, None)
            different = ""
            for variant in _variants(bundle, self.original, seed):
                if why_not_loadable(variant) is not None:
                    continue
                if not check_variant(bundle, variant, profile, None).ok:
                    return "outside", variant.name
                different = different or self._different(folder, variant.name)
        except ElsaError as error:
            return "refused", str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault to report
            return "foreign", f"{type(error).__name__}: {error}"
        return ("different", different) if different else ("accepted", "")

    def _different(self, folder: Path, name: str) -> str:
        """Say by how much a variant answers otherwise than the original one; empty where it does not."""
        from elsa_edge.tensors import largest_difference

        if name not in {variant.name for variant in self.original.manifest.variants}:
            return ""
        variant = self.original.manifest.variant(name)
        if name not in self._answers:
            self._answers[name] = answers(self._source, name)
        found = answers(folder, name)
        if len(found) != len(self._answers[name]):
            return f"{name} has {len(found)} levels"
        for level, outputs in enumerate(self._answers[name]):
            for output, expected in outputs.items():
                if output not in found[level]:
                    return f"{name} has no {output}"
                difference, scale = largest_difference(found[level][output], expected)
                allowed = 2 * self.original.manifest.tolerance(variant, output, level).limit(scale)
                if difference > allowed:
                    return (
                        f"{name}, level {level}: {difference:.3g} where {allowed:.3g} is twice the contract"
                    )
        return ""


def _watch(folder: Path, escapes: list[str]) -> None:
    """Note every file that Python opens for writing outside `folder`, and every odd one that it reads."""
    inside = (
        str(folder),
        "/proc/",
        "/sys/",
        "/dev/null",
        sys.prefix,
        sys.base_prefix,
        "/usr/",
        "/etc/os-release",
    )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], (str, bytes)):
            return
        path = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        writes = isinstance(arguments[1], str) and any(letter in arguments[1] for letter in "wax+")
        outside = path.startswith("/") and not path.startswith(inside) and not path.endswith((".py", ".pyc"))
        if outside and (writes or path.startswith(("/etc", "/root", "/home"))):
            escapes.append(path)

    sys.addaudithook(hook)


def _serve(source: str, place: str, kind: str, pipe: Any) -> None:
    folder = Path(place) / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    original, judge = Original.of(Path(source)), _Judge(Path(source))
    escapes: list[str] = []
    _watch(Path(place), escapes)
    while True:
        seed = pipe.recv()
        if seed is None:
            return
        changed = mutate(original, folder, seed, kind)
        escapes.clear()
        outcome, why = judge.outcome(folder, seed)
        if escapes:
            outcome, why = "escape", escapes[0]
        original.restore(folder, changed)
        pipe.send((outcome, why, changed))


class Fuzzer:
    """Tries seeds of one kind, one after the other.

    Args:
        source: The bundle.
        kind: `manifest` or `data`.
    """

    def __init__(self, source: Path, kind: str) -> None:
        self._source, self._kind = source, kind
        self._place = tempfile.TemporaryDirectory(prefix="elsa-edge-fuzz-")
        self._child: Any = None
        self._pipe: Any = None
        self._fresh = True

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        arguments = (str(self._source), self._place.name, self._kind, other)
        self._child = context.Process(target=_serve, args=arguments, daemon=False)
        self._child.start()
        other.close()
        self._fresh = True

    def one(self, seed: int) -> tuple[str, str, str]:
        """Return the outcome of a seed, a sentence, and the file that was changed."""
        if self._child is None:
            self._start()
        self._pipe.send(seed)
        try:
            # A new child imports the runtimes first.
            answer = (
                self._pipe.recv() if self._pipe.poll(LONGEST_S + 100 * self._fresh) else ("hang", "", "?")
            )
        except EOFError:
            answer = ("crash", "", "?")
        self._fresh = False
        if answer[0] in ("hang", "crash"):
            self._child.kill()
            self._child.join()
            answer = (answer[0], f"exit {self._child.exitcode}", answer[2])
            self._child = None
        outcome, why, changed = answer
        return str(outcome), str(why), str(changed)

    def faults(self, seeds: Iterator[int], seconds: float, counts: collections.Counter[str]) -> list[str]:
        """Try seeds until they or the time are at an end; count outcomes, and return a line for each fault."""
        ends, found = time.monotonic() + seconds, []
        for seed in seeds:
            if time.monotonic() > ends:
                break
            outcome, why, changed = self.one(seed)
            counts[outcome] += 1
            if outcome in FAULTS:
                found.append(f"{self._kind} {seed} ({changed}): {outcome} {why[:300]}")
        return found

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._pipe.send(None)
            self._child.join(10)
        self._place.cleanup()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("manifest", "data"), action="append")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=120.0, help="for each kind")
    options = parser.parse_args()
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="elsa-edge-fuzz-") as folder:
        source = build(Path(folder))
        for kind in options.kind or ("manifest", "data"):
            fuzzer, counts = Fuzzer(source, kind), collections.Counter[str]()
            found += fuzzer.faults(
                iter(range(options.first, options.first + options.count)), options.seconds, counts
            )
            fuzzer.close()
            print(json.dumps({"kind": kind, **counts}))
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
