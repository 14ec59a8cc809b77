"""Bundles of zoo networks, built once a process. Treat them as read-only: copy before you harm one."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from elsa_edge.build import build_bundle
from elsa_edge.files import sha256_of
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


def slim(path: Path, **changes: object) -> Path:
    """Write conv's bundle with only its smallest variant, and with other values in its manifest; return `path`."""
    shutil.copytree(bundle("conv"), path)
    data = json.loads((path / "manifest.json").read_text())
    data["variants"] = [v for v in data["variants"] if v["name"] == "onnx-selector"]
    data["files"] = [f for f in data["files"] if not f["path"].startswith("ort-")]
    for name in ("ort-levels", "ort-switch"):
        shutil.rmtree(path / name)
    (path / "manifest.json").write_text(json.dumps(data | changes))
    return path


def rehash(path: Path) -> None:
    """Write the hashes of a bundle's files as they are now into its manifest, as someone who means harm would."""
    data = json.loads((path / "manifest.json").read_text())
    for entry in data["files"]:
        entry["size_bytes"] = (path / entry["path"]).stat().st_size
        entry["sha256"] = sha256_of(path / entry["path"])
    (path / "manifest.json").write_text(json.dumps(data))
