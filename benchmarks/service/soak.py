"""examples/camera_service for half an hour at 80 % of what it can answer: its memory, its errors, its late answers.

One client sends the next image when it is due, or when the answer before it has come. The service may be held to a
share of its core (`share`), where others work on the machine; 80 % is then of what it can answer within that share.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.common import Claim, Row, at_most
from benchmarks.service.disturb import Group, group

__all__ = ["soak"]

_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "examples" / "camera_service"
_LOAD: Final = 0.8
_SETTLE_S: Final = 60.0  # allocators and caches fill until then
_BUDGET: Final = 2.5  # in medians of an answer to a client that waits for each


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

    place = folder / "camera"
    if (place / "manifest.json").is_file():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(), nn.Conv2d(64, 64, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).eval()  # fmt: skip
    spec = TensorSpec("input", (None, 3, 96, 96), sizes=("batch", None, None, None))
    export_canonical(sparsify(model, [0.9, 0.0]), model, (spec,)).save(folder / "camera.onnx")
    build_bundle(folder / "camera.onnx", "generic-x86-64", place, variants=["ort-nested"])
    return place


@contextlib.contextmanager
def _service(
    bundle: Path, held: Group | None, core: int, *options: str
) -> Iterator[tuple[int, str, list[int]]]:
    """Yield process number and address of a running service, and a list that holds its exit status afterwards."""
    command = [sys.executable, str(_EXAMPLE), str(bundle), "--port", "0", *options]
    if held is not None:
        command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(held.members), *command]
    status: list[int] = []
    with subprocess.Popen(
        ["taskset", "-c", str(core), *command], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        address = next(line.split()[-1] for line in process.stderr if "Serving on" in line)
        try:
            yield process.pid, address, status
        finally:
            process.send_signal(signal.SIGTERM)
            status.append(process.wait(30))


def soak(folder: Path, minutes: float, *, share: float, core: int) -> tuple[list[Row], list[Claim]]:
    """Return what `minutes` of load did to the service."""
    import httpx

    bundle, image = _camera_bundle(folder / "networks"), _image()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=30))
        held = stack.enter_context(group("cpu")) if share < 1.0 else None
        if held is not None:
            held.set_quota(share)

        def ask(address: str) -> tuple[float, int]:
            sent = time.monotonic()
            answer = client.post(address, content=image)
            return (time.monotonic() - sent) * 1e3, answer.status_code

        with _service(bundle, held, core) as (_, address, _first):
            usual_ms = float(np.median([ask(address)[0] for _ in range(300)]))
        budget_ms = _BUDGET * usual_ms
        with _service(bundle, held, core, "--budget-ms", f"{budget_ms:.3f}") as (pid, address, status):
            _load(lambda: ask(address), usual_ms / _LOAD, min(_SETTLE_S, 10 * minutes))
            before = _resident_bytes(pid)
            asked = _load(lambda: ask(address), usual_ms / _LOAD, 60 * minutes)
            after = _resident_bytes(pid)
    # Refused for want of time is late, as the service says it; anything else that is no answer is an error.
    late = [ms > budget_ms or code == 503 for ms, code in asked]
    errors = sum(code not in (200, 503) for _, code in asked)
    latencies = [ms for ms, _ in asked]
    row: Row = {
        "part": "soak",
        "minutes": minutes,
        "load": _LOAD,
        "share_of_a_core": share,
        "requests": len(asked),
        "refused": sum(code == 503 for _, code in asked),
        "errors": errors,
        "resident_mb_before": round(before / 1e6, 2),
        "resident_mb_after": round(after / 1e6, 2),
        "budget_ms": round(budget_ms, 3),
        "late_share": round(float(np.mean(late)), 4),
        "p50_ms": round(float(np.median(latencies)), 3),
        "p99_ms": round(float(np.quantile(latencies, 0.99)), 3),
        "exit_status": status[0],
    }
    words = f"soak: {minutes:g} minutes (30 are asked for), "
    return [row], [
        at_most(words + "memory grown, percent", 1.0, round(100 * (after / before - 1.0), 2)),
        at_most(words + "errors", 0, errors + int(status[0] != 0)),
        at_most(words + "late share", 0.05, row["late_share"]),
    ]


def _load(ask: Callable[[], tuple[float, int]], period_ms: float, seconds: float) -> list[tuple[float, int]]:
    """Ask once a period, or as soon as the answer before has come; return latency and status of each."""
    began = due = time.monotonic()
    found = []
    while time.monotonic() < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + period_ms / 1e3, time.monotonic())
        found.append(ask())
    return found
