"""`onnx-selector`: the canonical graph as it is. Runs on any ONNX runtime; the reference, not the fast form."""

from __future__ import annotations

from pathlib import Path

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Selector
from elsa_edge.bundle.manifest import Variant
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.plugins import Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["OnnxSelectorExporter"]


class OnnxSelectorExporter:
    """Write the canonical graph; the level is an input and masks are evaluated in every inference."""

    name = "onnx-selector"
    runtime = "onnxruntime"

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:  # noqa: ARG002 - fits anywhere
        """Always applies."""
        return Preflight(
            applies=True, reasons=("masks are evaluated in every inference: for reference, not for speed",)
        )

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:  # noqa: ARG002
        """Write `model.onnx`."""
        graph.save(folder / "model.onnx")
        dense_bytes = sum(graph.weight(name).nbytes for name in graph.nested)
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files={"model": "model.onnx"},
            instructions=Selector(),
            level_bytes=(dense_bytes,) * len(graph.ladder),
        )
