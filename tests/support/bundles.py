"""Bundles of zoo networks, built once a process. Treat them as read-only: copy before you harm one."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from elsa_edge.build import build_bundle
from elsa_edge.graph.export import export_canonical
from support.zoo import ZOO, nested_checkpoint

VARIANTS = ("onnx-selector", "ort-levels", "ort-switch")


@cache
def folder() -> Path:
    """Return a folder of this process that vanishes with it."""
    path = Path(tempfile.mkdtemp(prefix="elsa-edge-tests-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def model(name: str) -> Path:
    """Return the canonical graph of a zoo network as a file."""
    checkpoint, network = nested_checkpoint(ZOO[name])
    path = folder() / f"{name}.onnx"
    export_canonical(checkpoint, network, ZOO[name].inputs).save(path)
    return path


@cache
def bundle(name: str) -> Path:
    """Return a bundle of a zoo network with all three ONNX Runtime variants."""
    path = folder() / name
    build_bundle(model(name), "generic-x86-64", path, variants=VARIANTS)
    return path
