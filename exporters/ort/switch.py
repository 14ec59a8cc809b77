"""`ort-switch`: every level in one file and one session; the level is a run-time input that costs nothing.

    model.onnx    dense weights once, packed level indices, one branch per level (see elsa_edge/graph/cascade.py)

A level without its dead channels is smaller, and not always faster: runtimes like numbers of channels that divide well.
On a device of this machine's kind both forms are timed, and a level keeps the channels where that is clearly faster.

ONNX Runtime folds each branch to plain weights when it loads the file; the adapter keeps the folded form in a
memory-mapped cache on the device.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx_ir as ir

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Switch
from elsa_edge.bundle.manifest import Variant
from elsa_edge.exporters.nested.forecast import forecast_dense
from elsa_edge.exporters.nested.price import RATES
from elsa_edge.exporters.ort.smaller import is_here, smaller_over_whole
from elsa_edge.files import write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.cascade import level_cascade
from elsa_edge.plugins import Forecast, Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["OrtSwitchExporter"]

# Peak memory of a first load over the size of the folded levels: 7.4 GB for 1036 MB (ViT-B/16), 2.4 GB for 342 MB
# (ConvNeXt-T), with ONNX Runtime 1.31.
_FOLDING_COPIES: Final = 7
# Two sessions of one network differ by some per cent.
_CLEARLY: Final = 1.05


class OrtSwitchExporter:
    """Write the cascade."""

    name = "ort-switch"
    runtime = "onnxruntime"

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Needs folding at load; says so when the profile switches it off."""
        if profile.runtime.optimization == "none":
            return Preflight(
                applies=False,
                reasons=("ort-switch relies on constant folding at load, and runtime.optimization is none",),
            )
        file_bytes = sum(graph.weight(name).nbytes for name in graph.nested) * len(graph.ladder)
        memory_mb = _FOLDING_COPIES * file_bytes / 1e6
        if memory_mb > profile.hardware.memory_mb:
            reason = (
                f"folding its levels at load takes about {memory_mb:.0f} MB, {profile.name} has "
                f"{profile.hardware.memory_mb}: ort-nested and ort-levels take less"
            )
            return Preflight(applies=False, reasons=(reason,))
        return Preflight(
            applies=True,
            reasons=(f"the cache on the device takes about {file_bytes / 1e6:.0f} MB of storage",),
        )

    def forecast(self, graph: CanonicalGraph, profile: DeviceProfile) -> Forecast | None:
        """Return what inferences will take; see `elsa_edge.plugins.Forecaster`."""
        return forecast_dense(graph, profile) if profile.hardware.arch in RATES else None

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write `model.onnx`."""
        ratios = smaller_over_whole(graph, profile, golden) if is_here(profile) else {}
        keep_dead = [level for level, ratio in ratios.items() if ratio > _CLEARLY]
        model = level_cascade(graph, keep_dead=keep_dead)
        write_bytes(folder / "model.onnx", ir.to_proto(model).SerializeToString())
        dense_bytes = sum(graph.weight(name).nbytes for name in graph.nested)
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files={"model": "model.onnx"},
            instructions=Switch(),
            notes={"keeps_dead_channels": keep_dead} if keep_dead else {},
            level_bytes=(dense_bytes,) * len(graph.ladder),
        )
