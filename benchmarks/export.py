"""From a nested checkpoint to a verified bundle: seconds, sizes on disk, and how fast the command line answers.

size ratio     bytes of the whole bundle with one variant / bytes of the plain dense ONNX file
seconds        wall clock of `elsa-edge export`, `build` and `verify`, each in a process of its own
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import Claim, Result, Row, at_most, benchmark
from benchmarks.common.prepare import LADDER, folder_bytes, prepare
from benchmarks.common.sessions import profile_for
from benchmarks.networks import FEW, NETS
from elsa_edge.profiles import save_profile

__all__ = ["main"]

VARIANTS = ("ort-switch", "ort-levels")
TIMED_NET = "efficientnet_lite0"
COMMAND = str(Path(sys.executable).with_name("elsa-edge"))


def _timed(*arguments: str) -> tuple[float, float]:
    """Run `elsa-edge ARGUMENTS` and return its wall-clock and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"elsa-edge {' '.join(arguments)} failed: {done.stderr.strip()[-2000:]}")
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _help(rounds: int) -> Row:
    """Return the row of `elsa-edge --help`; the first, cold start is not counted."""
    times = np.array([_timed("--help") for _ in range(rounds + 1)][1:])
    wall_s, cpu_s = np.median(times, axis=0)
    return {"what": "elsa-edge --help", "wall_s": round(float(wall_s), 4), "cpu_s": round(float(cpu_s), 4)}


def _path(name: str, folder: Path) -> list[Row]:
    """Return rows of one network: the time of each step by variant, and the size of the bundle."""
    net = prepare(name, folder)
    shape = "x".join(map(str, NETS[name].input_shape))
    made = NETS[name].factory
    factory = f"{made.__module__}:{made.__name__}"
    checkpoint, model = str(folder / f"{name}.safetensors"), str(folder / f"{name}.onnx")
    steps = [_timed("export", checkpoint, "--model", factory, "--input-shape", shape, "-o", model)]
    rows: list[Row] = []
    for variant in VARIANTS:
        device, bundle = folder / f"{variant}.yaml", folder / f"{name}-{variant}"
        save_profile(profile_for(variant), device)
        both = [*steps, _timed("build", model, "--device", str(device), "-o", str(bundle))]
        both.append(_timed("verify", str(bundle)))
        dense_bytes, bundle_bytes = net.plain.stat().st_size, folder_bytes(bundle)
        rows.append(
            {
                "net": name,
                "what": "bundle",
                "variant": variant,
                "ladder": ",".join(f"{sparsity:g}" for sparsity in LADDER),
                "dense_bytes": dense_bytes,
                "bundle_bytes": bundle_bytes,
                "ratio": round(bundle_bytes / dense_bytes, 4),
                **{
                    f"{step}_s": round(s, 2)
                    for step, (s, _) in zip(("export", "build", "verify"), both, strict=True)
                },
                "wall_s": round(sum(wall_s for wall_s, _ in both), 2),
                "cpu_s": round(sum(cpu_s for _, cpu_s in both), 2),
            }
        )
    return rows


def _claims(rows: list[Row], timed: str) -> list[Claim]:
    nets = ", ".join(dict.fromkeys(row["net"] for row in rows if "net" in row))
    claims = []
    for variant in VARIANTS:
        largest = max(float(row["ratio"]) for row in rows if row.get("variant") == variant)
        claims.append(at_most(f"{variant} bundle over the dense float model (worst of {nets})", 1.3, largest))
    slowest = max(float(row["wall_s"]) for row in rows if row.get("net") == timed)
    claims.append(at_most(f"{timed} from checkpoint to verified bundle, wall-clock seconds", 60, slowest))
    help_s = next(float(row["wall_s"]) for row in rows if row["what"] == "elsa-edge --help")
    claims.append(at_most("elsa-edge --help, wall-clock seconds", 0.3, help_s))
    return claims


@benchmark("export")
def main(quick: bool) -> Result:
    """Time and size from a nested checkpoint to a verified bundle."""
    nets = ["mlp"] if quick else list(FEW)
    with tempfile.TemporaryDirectory() as temporary:
        rows = [row for name in nets for row in _path(name, Path(temporary))]
    rows.append(_help(3 if quick else 15))
    return Result(rows, _claims(rows, "mlp" if quick else TIMED_NET))


if __name__ == "__main__":
    main()
