"""What opening a bundle costs, against another checkout of this project, variant by variant.

    python -P benchmarks/reliability/opening.py build FOLDER              the same network, by this checkout's own build
    python -P benchmarks/reliability/opening.py time FOLDER VARIANT N     seconds of N openings in this process

This file runs in both checkouts, each with its own environment, so it uses nothing but what both have. Processes of the
two take turns. The very first opening on a device fills the cache and tries a LiteRT file in a process apart; then the
first opening of a process imports the runtime, and the later ones do not.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

__all__ = ["compared"]

_OPENINGS: Final = 8
_ENDS_S: Final = 600.0
_VARIANTS: Final = ("onnx-selector", "ort-levels", "ort-switch", "ort-nested", "tflite-levels")


def _build(folder: Path) -> list[str]:
    """Build every variant by itself; return the names of those that this checkout has and proves."""
    from torch import manual_seed, nn

    from elsa_edge.build import build_bundle
    from elsa_edge.errors import ElsaError
    from elsa_edge.graph.export import export_canonical
    from elsa_edge.sparsify import sparsify
    from elsa_edge.tensors import parse_inputs

    manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).eval()  # fmt: skip
    canonical = folder / "model.onnx"
    export_canonical(sparsify(model, [0.8, 0.5, 0.0]), model, parse_inputs(["1x3x16x16"])).save(canonical)
    built = []
    for name in _VARIANTS:
        try:
            build_bundle(canonical, "generic-x86-64", folder / name, variants=[name])
            built.append(name)
        except ElsaError as error:
            print(f"{name}: {error}", file=sys.stderr)
    return built


def _times(bundle: Path, variant: str, count: int) -> list[float]:
    """Return the seconds of each opening, the first one first."""
    from elsa_edge import AdaptiveSession

    seconds = []
    cache = bundle.with_name(f"{variant}.cache")
    for _ in range(count):
        began = time.perf_counter()
        session = AdaptiveSession.open(bundle, variant=variant, cache=cache)
        seconds.append(time.perf_counter() - began)
        session.close()
    return seconds


def _ask(tree: Path, *arguments: object) -> Any:
    """Run this file in a checkout, with its own environment, and return what it said."""
    command = [str(tree / ".venv/bin/python"), "-P", str(Path(__file__).resolve()), *map(str, arguments)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=_ENDS_S, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compared(here: Path, before: Path, processes: int) -> list[dict[str, Any]]:
    """Return a row for each variant that both checkouts have: milliseconds of openings, and their ratios.

    Args:
        here: This checkout.
        before: The other one.
        processes: Of each checkout for each variant, in turns.
    """
    trees = {"now": here, "before": before}
    rows = []
    with tempfile.TemporaryDirectory(prefix="elsa-edge-opening-") as folder:
        built = {}
        for name, tree in trees.items():
            (Path(folder) / name).mkdir()
            built[name] = _ask(tree, "build", Path(folder) / name)
        for variant in (name for name in built["before"] if name in built["now"]):
            first: dict[str, list[float]] = {name: [] for name in trees}
            again: dict[str, list[float]] = {name: [] for name in trees}
            empty = {
                name: _ask(tree, "time", Path(folder) / name / variant, variant, 1)[0] * 1e3
                for name, tree in trees.items()
            }
            for _ in range(processes):
                for name, tree in trees.items():
                    seconds = _ask(tree, "time", Path(folder) / name / variant, variant, _OPENINGS)
                    first[name].append(seconds[0] * 1e3)
                    again[name].append(statistics.median(seconds[1:]) * 1e3)
            row: dict[str, Any] = {"variant": variant, "processes": processes}
            row |= {f"empty_cache_{name}_ms": round(value, 2) for name, value in empty.items()}
            for what, found in (("first", first), ("again", again)):
                ms = {name: statistics.median(found[name]) for name in trees}
                row |= {f"{what}_{name}_ms": round(value, 2) for name, value in ms.items()}
                row[f"{what}_ratio"] = round(ms["now"] / ms["before"], 3)
            rows.append(row)
    return rows


if __name__ == "__main__":
    if sys.argv[1] == "build":
        print(json.dumps(_build(Path(sys.argv[2]))))
    else:
        print(json.dumps(_times(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
