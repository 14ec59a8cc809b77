"""Exporter `tflite-levels`: every level as a plain TFLite network, as a file or as a signature of one file."""

from __future__ import annotations

from pathlib import Path

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.exporters.tflite.convert import missing_converter
from elsa_edge.exporters.tflite.level_models import RUNTIME, convert_levels, packaging, write_variant
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.plugins import Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["TfliteLevelsExporter"]


class TfliteLevelsExporter:
    """(canonical graph, device profile) -> float TFLite files; see `elsa_edge.plugins.Exporter`."""

    name = "tflite-levels"
    runtime = RUNTIME

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Say how the levels will be packed; the converter decides about operators."""
        missing = missing_converter()
        if missing is not None:
            return Preflight(False, (missing,))
        how = (
            "one file with one signature per level"
            if packaging(profile) == "signatures"
            else "one file per level"
        )
        return Preflight(True, (f"{len(graph.ladder)} levels in {how}, batch {profile.tflite.batch}",))

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write the variant; see `elsa_edge.plugins.Exporter`."""
        levels = convert_levels(graph, profile, golden)
        return write_variant(self.name, [c.model for c in levels.converted], levels, profile, folder)
