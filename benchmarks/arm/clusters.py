"""A network trained with levels that XNNPACK's sparse kernels take on ARM: `python -m benchmarks.arm clusters`.

    other last digits at a sparse level  =>  sparse kernels computed it          equal digits at the dense level

XNNPACK's rule asks for a cluster: a 3x3 stem of stride 2 over a 3-channel image, then pointwise and depthwise
convolutions only (docs/tflite.md). A small MobileNet that meets it is trained on digits with levels inside it,
written as `tflite-levels` (dense kernels) and `tflite-sparse`, and run by LiteRT's own ARM wheel on emulated cores.
Accuracy is that of the emulated board on images that training has not seen; nothing is timed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from benchmarks.arm.emulate import board
from benchmarks.common import Claim, Result, Row, at_least, at_most, benchmark
from benchmarks.common.sessions import profile_for
from benchmarks.int8.accuracy import trained_levels
from elsa_edge.bundle.golden import Golden
from elsa_edge.exporters.tflite.levels import TfliteLevelsExporter
from elsa_edge.exporters.tflite.sparse import TfliteSparseExporter
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.plugins import Exporter
from elsa_edge.quickstart.data import Digits, load_digits
from elsa_edge.tensors import TensorSpec
from elsa_edge.training import Nesting

__all__ = ["Mobile", "claims_of"]

_LADDER: Final = (0.9, 0.8, 0.0)
_CPUS: Final = ("cortex-a72", "cortex-a76")
_EPOCHS: Final = 3
_IMAGES: Final = 500
_BATCH: Final = 20
_CHECK: Final = Path(__file__).resolve().parents[2] / "tests" / "support" / "check_variants.py"


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class Mobile(nn.Module):
    """MobileNetV1 in small: images (batch, 1, 28, 28) as three equal channels, to 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, 16, 3, 2)
        blocks: list[nn.Module] = []
        for inputs, outputs, stride in ((16, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)):
            blocks += [_convolution(inputs, inputs, 3, stride, inputs), _convolution(inputs, outputs, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of images (batch, 3, 28, 28)."""
        result: torch.Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return result


def _in_colour(digits: Digits) -> Digits:
    train_images, test_images = (np.repeat(x, 3, axis=1) for x in (digits.train_images, digits.test_images))
    return Digits(train_images, digits.train_labels, test_images, digits.test_labels)


def _write(folder: Path, exporter: Exporter, graph: CanonicalGraph, digits: Digits, count: int) -> None:
    folder.mkdir()
    images, labels = digits.test_images[:count], digits.test_labels[:count]
    inputs = {next(iter(graph.inputs)): images}
    golden = Golden(inputs, run_canonical(graph, inputs))
    plain = profile_for(exporter.name)
    wanted = {"batch": _BATCH, "sparse_for_size": True}
    profile = plain.model_copy(update={"tflite": plain.tflite.model_copy(update=wanted)})
    variant = exporter.export(graph, profile, golden, folder)
    (folder / "variant.json").write_text(variant.model_dump_json())
    golden.save(folder / "golden.npz")
    np.save(folder / "labels.npy", labels)


def _report(folder: Path, cpu: str) -> dict[str, Any]:
    done = board().run_python("arm64", [_CHECK, folder], cpu=cpu, timeout_s=1000)
    if done.returncode:
        raise SystemExit(f"The emulated board failed: {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["variants"]
    return report


def _rows(graph: CanonicalGraph, folder: Path) -> list[Row]:
    rows: list[Row] = []
    for cpu in _CPUS:
        report = _report(folder, cpu)
        dense, sparse = report["levels"], report["sparse"]
        for level, sparsity in enumerate(entry.sparsity for entry in graph.ladder):
            rows.append(
                {
                    "cpu": cpu,
                    "sparsity": sparsity,
                    "sparse_kernels": dense["digests"][level] != sparse["digests"][level],
                    "difference": sparse["differences"][level],
                    "allowed": sparse["tolerance"],
                    "accuracy_dense_kernels": round(dense["accuracies"][level], 4),
                    "accuracy": round(sparse["accuracies"][level], 4),
                }
            )
    return rows


def claims_of(rows: list[Row]) -> list[Claim]:
    """Return what each row must show: its kernels, its numbers and its accuracy."""
    claims: list[Claim] = []
    for row in rows:
        about = f"{row['cpu']}, {row['sparsity']:.0%}"
        wanted = row["sparsity"] > 0
        claims += [
            at_least(
                f"{about}: its kernels are {'sparse' if wanted else 'dense'}",
                1,
                row["sparse_kernels"] == wanted,
            ),
            at_most(f"{about}: difference over the allowed", 1.0, row["difference"] / row["allowed"]),
            at_most(
                f"{about}: points lost to dense kernels",
                0.0,
                100 * (row["accuracy_dense_kernels"] - row["accuracy"]),
            ),
        ]
    return claims


@benchmark("arm-clusters")
def main(quick: bool) -> Result:
    """Train a MobileNet with levels and see XNNPACK's sparse kernels take it on emulated cores."""
    digits = _in_colour(load_digits(0, 640 if quick else None))
    nesting = Nesting(exclude=("stem.*",))
    checkpoint = trained_levels(Mobile, _LADDER, nesting, digits, 1 if quick else _EPOCHS)
    graph = export_canonical(checkpoint, Mobile(), [TensorSpec("", (1, 3, 28, 28))])
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary:
        folder = Path(temporary)
        count = 40 if quick else _IMAGES
        _write(folder / "levels", TfliteLevelsExporter(), graph, digits, count)
        _write(folder / "sparse", TfliteSparseExporter(), graph, digits, count)
        rows = _rows(graph, folder)
    return Result(rows=rows, claims=claims_of(rows))
