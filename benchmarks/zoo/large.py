"""A large network through the command line, in the zoo's environment: `python -m benchmarks.zoo.large`.

ViT-B/16 of torchvision, 86 million parameters: sparsify, export and build for generic-x86-64, each a process of its
own, with its seconds by the clock and by the processor and its peak of memory.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.common import Result, at_most, benchmark

__all__ = ["main", "vit_b_16"]

_SHAPE: Final = "x=1x3x224x224"
_FACTORY: Final = "benchmarks.zoo.large:vit_b_16"

Row = dict[str, Any]


def vit_b_16() -> Any:
    """Return ViT-B/16 with weights of heavy tails, as trained ones have."""
    import torch

    from benchmarks.zoo.worker import heavy_tails

    torch.manual_seed(0)
    model = importlib.import_module("torchvision.models").vit_b_16(weights=None).eval()
    heavy_tails(model)
    return model


def _measured(name: str, arguments: list[str]) -> Row:
    """Run a command and return its seconds and the peak of its resident memory.

    Raises:
        RuntimeError: When it fails.
    """
    began = time.monotonic()
    child = os.posix_spawn(sys.executable, [sys.executable, "-m", "elsa_edge", *arguments], os.environ)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"elsa-edge {name} ended with status {os.waitstatus_to_exitcode(status)}")
    return {
        "command": name,
        "wall_s": round(time.monotonic() - began, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
        "load_1_min": round(os.getloadavg()[0], 1),
    }


@benchmark("zoo-large")
def main(quick: bool) -> Result:
    """ViT-B/16, sparsify, export and build for generic-x86-64; quick: sparsify alone."""
    import torch

    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="elsa-large-") as folder:
        dense, nested = Path(folder) / "dense.pt", Path(folder) / "nested.safetensors"
        graph, bundle = Path(folder) / "model.onnx", Path(folder) / "bundle"
        torch.save(vit_b_16().state_dict(), dense)
        common = ["--model", _FACTORY, "--input-shape", _SHAPE]
        steps = {
            "sparsify": [str(dense), *common, "--levels", "0.95,0.8,0", "-o", str(nested)],
            "export": [str(nested), *common, "-o", str(graph)],
            "build": [str(graph), "--device", "generic-x86-64", "-o", str(bundle)],
        }
        rows += [_measured(name, [name, *steps[name]]) for name in list(steps)[: 1 if quick else None]]
    return Result(
        rows,
        [
            at_most("seconds by the clock, all three", 120, round(sum(row["wall_s"] for row in rows), 1)),
            at_most("seconds of the processor, all three", 120, round(sum(row["cpu_s"] for row in rows), 1)),
            at_most("peak memory of any of the three, MB", 6000, max(row["peak_mb"] for row in rows)),
        ],
    )


if __name__ == "__main__":
    main()
