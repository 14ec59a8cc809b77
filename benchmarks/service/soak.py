"""examples/camera_service for minutes at 80 % of what it can answer: its memory, its errors, its late answers."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.common import Claim, Row, at_most

__all__ = ["soak"]

_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "examples" / "camera_service"
_LOAD: Final = 0.8
_WARM_UP: Final = 200


def _image() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _camera_bundle(folder: Path) -> Path:
    """Return a bundle of a small network of colour images: the service takes no other."""
    import torch
    from torch import nn

    from elsa_edge.build import build_bundle
    from elsa_edge.graph.export import export_canonical
    from elsa_edge.sparsify import sparsify
    from elsa_edge.tensors import TensorSpec

    place = folder.parent / "camera"
    if (place / "manifest.json").is_file():
        return place
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(), nn.Conv2d(64, 64, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).eval()  # fmt: skip
    spec = TensorSpec("input", (None, 3, 96, 96), sizes=("batch", None, None, None))
    export_canonical(sparsify(model, [0.9, 0.0]), model, (spec,)).save(folder.parent / "camera.onnx")
    build_bundle(folder.parent / "camera.onnx", "generic-x86-64", place, variants=["ort-nested"])
    return place


def soak(whole: Path, minutes: float) -> tuple[list[Row], list[Claim]]:
    """Return what `minutes` of load did to the service; bundles are made beside `whole`."""
    import httpx

    bundle, image = _camera_bundle(whole), _image()
    process = subprocess.Popen(
        [sys.executable, str(_EXAMPLE), str(bundle), "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    address = next(line.split()[-1] for line in process.stderr if "Serving on" in line)
    try:
        with httpx.Client(timeout=30) as client:
            times = []
            for _ in range(_WARM_UP):
                began = time.monotonic()
                client.post(address, content=image)
                times.append(time.monotonic() - began)
            usual_s = float(np.median(times))
            # The budget of the policy: 95 % of the answers within twice and a half of the usual time.
            budget_ms, period_s = 2.5e3 * usual_s, usual_s / _LOAD
            before = _resident_bytes(process.pid)
            began = due = time.monotonic()
            latencies, errors = [], 0
            while time.monotonic() < began + 60 * minutes:
                time.sleep(max(0.0, due - time.monotonic()))
                due = max(due + period_s, time.monotonic())
                sent = time.monotonic()
                answer = client.post(address, content=image, headers={"X-Budget-Ms": f"{20 * budget_ms:.3f}"})
                latencies.append((time.monotonic() - sent) * 1e3)
                errors += answer.status_code != 200
            after = _resident_bytes(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
        process.stderr.close()
    grown = after / before - 1.0
    late = float(np.mean(np.array(latencies) > budget_ms))
    row: Row = {
        "part": "soak", "minutes": minutes, "requests": len(latencies), "load": _LOAD, "errors": errors,
        "resident_mb_before": round(before / 1e6, 2), "resident_mb_after": round(after / 1e6, 2),
        "budget_ms": round(budget_ms, 3), "late_share": round(late, 4),
        "p50_ms": round(float(np.median(latencies)), 3), "p99_ms": round(float(np.quantile(latencies, 0.99)), 3),
        "exit_status": status,
    }  # fmt: skip
    words = f"soak of {minutes:g} min (30 are asked for): "
    return [row], [
        at_most(words + "memory grown, percent", 1.0, round(100 * grown, 2)),
        at_most(words + "errors", 0, errors + int(status != 0)),
        at_most(words + "late share", 0.05, round(late, 4)),
    ]
