"""A small bundle that needs no runtime, and a way to harm its manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from elsa_edge.bundle import Golden, Variant, write_bundle
from elsa_edge.bundle.instructions import Nested
from elsa_edge.bundle.manifest import FILE_NAME
from elsa_edge.levels import Ladder
from elsa_edge.tensors import TensorSpec

LADDER = Ladder.from_sparsities([0.9, 0.0])


def fill(destination: Path, payload: bytes = b"weights") -> Path:
    """Write a small bundle with one variant of two files."""
    golden = Golden(
        {"x": np.arange(4, dtype=np.float32).reshape(1, 4)},
        tuple({"y": np.full((1, 2), k, np.float32)} for k in range(2)),
    )
    with write_bundle(destination) as writer:
        folder = writer.variant_folder("plain")
        (folder / "model.onnx").write_bytes(payload)
        (folder / "sub").mkdir()
        (folder / "sub" / "data.bin").write_bytes(b"0123")
        writer.add_variant(
            Variant(
                name="plain",
                runtime="onnxruntime",
                files={"model": "model.onnx", "data": "sub/data.bin"},
                instructions=Nested(choices=("model",), nested_layers=((), ())),
            )
        )
        writer.seal(
            name="net",
            device="generic-x86-64",
            ladder=LADDER,
            inputs={"x": TensorSpec("x", (None, 4))},
            outputs={"y": TensorSpec("y", (None, 2))},
            golden=golden,
            versions={"elsa-edge": "0.1.0"},
            provenance={"source": "test"},
        )
    return destination


def edit(bundle: Path, change: Callable[[Any], object]) -> None:
    """Apply `change` to the manifest as a dict and write it back."""
    path = bundle / FILE_NAME
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
