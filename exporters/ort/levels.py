"""`ort-levels`: one plain graph per level, zeros coded compactly. Least memory: one level is loaded at a time.

level_K.onnx    the level after the whole pass order, sparse weights as gaps and nonzeros
shared.bin      constants that several levels have alike, once, for memory-mapping
"""

from __future__ import annotations

from pathlib import Path

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Levels, level_role
from elsa_edge.bundle.manifest import Variant
from elsa_edge.exporters.nested.forecast import forecast_dense
from elsa_edge.exporters.nested.price import RATES
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.passes.encode_zeros import EncodeZeros
from elsa_edge.graph.shared_data import save_sharing
from elsa_edge.plugins import Forecast, Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["OrtLevelsExporter"]


class OrtLevelsExporter:
    """Write one graph per level; ONNX Runtime decodes the weights when it loads one."""

    name = "ort-levels"
    runtime = "onnxruntime"

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Always applies; says what a switch costs."""
        reasons = ["a level switch loads another file: tens of milliseconds"] if len(graph.ladder) > 1 else []
        if profile.runtime.optimization == "none":
            reasons.append("runtime.optimization: none decodes the weights in every inference")
        return Preflight(applies=True, reasons=tuple(reasons))

    def forecast(self, graph: CanonicalGraph, profile: DeviceProfile) -> Forecast | None:
        """Return what inferences will take; see `elsa_edge.plugins.Forecaster`."""
        return forecast_dense(graph, profile) if profile.hardware.arch in RATES else None

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:  # noqa: ARG002
        """Write the levels."""
        models = []
        level_bytes = []
        for level in range(len(graph.ladder)):
            model = at_level(graph, level)
            level_bytes.append(
                sum(
                    value.const_value.nbytes
                    for value in model.graph.initializers.values()
                    if value.const_value
                )
            )
            EncodeZeros()(model)
            models.append((f"{level_role(level)}.onnx", model))
        shared = save_sharing(models, folder, "shared.bin")
        files = {name.removesuffix(".onnx"): name for name, _ in models}
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files=files | ({"shared": shared} if shared else {}),
            instructions=Levels(),
            level_bytes=tuple(level_bytes),
        )
