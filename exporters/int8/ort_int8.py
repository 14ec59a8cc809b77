"""`ort-int8`: ONNX Runtime's dense 8-bit kernels, a plain network a level, which a nested level has to beat.

model.onnx           all levels, chosen by the input `level`
level_plain_K.onnx   each level alone, where the network is so small that choosing costs it more than 3 %
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Selector, plain_files
from elsa_edge.bundle.manifest import Variant
from elsa_edge.calibration import calibration_samples
from elsa_edge.exporters.int8.base import Int8Exporter, notes_of_shares
from elsa_edge.exporters.int8.forecast import forecast_dense8
from elsa_edge.exporters.int8.judge import judge
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.exporters.int8.share import coded_nodes
from elsa_edge.exporters.nested.file import join
from elsa_edge.exporters.nested.find import level_models
from elsa_edge.exporters.nested.price import RATES
from elsa_edge.exporters.nested.timing import LARGEST_OVERHEAD, Stopwatch
from elsa_edge.exporters.ort.smaller import is_here
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.class_axis import class_axes
from elsa_edge.plugins import Forecast, Preflight
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.quantise.samples import inferences

__all__ = ["OrtInt8Exporter"]

# Plain files of all levels double what ort-int8 weighs; networks beyond this take long enough not to need them.
_SMALL_FILE_BYTES: Final = 16_000_000

Array = npt.NDArray[Any]


class OrtInt8Exporter(Int8Exporter):
    """Write a plain dense 8-bit network for every level, chosen by the level input.

    Args:
        strict: As `NestedInt8Exporter` has it.
    """

    name = "ort-int8"

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Applies to every network; say where the ranges will come from."""
        del graph
        origin = profile.tflite.calibration or "the golden inputs, which must be real ones"
        return Preflight(True, (f"ranges come from {origin}",))

    def forecast(self, graph: CanonicalGraph, profile: DeviceProfile) -> Forecast | None:
        """Return what inferences will take; see `elsa_edge.plugins.Forecaster`."""
        return forecast_dense8(graph, profile) if profile.hardware.arch in RATES else None

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write `model.onnx`, and plain files of levels where choosing one costs too much."""
        samples, _ = calibration_samples(graph.inputs, profile, golden)
        count, made = len(graph.ladder), folder / "model.onnx"
        branches = [(level, dense8(graph, level, samples, profile)) for level in range(count)]
        coded = [coded_nodes(branch) for _, branch in branches]  # joining takes their nodes
        contents = [ir.to_proto(branch).SerializeToString() for _, branch in branches]
        joined = join(branches, {}, count, graph.model.graph)
        write_bytes(made, ir.to_proto(joined).SerializeToString())
        judged = judge(made, level_models(graph), samples, class_axes(graph.model))
        files = (
            plain_files(range(count)) if self._is_slow(made, contents[-1], graph, profile, samples) else {}
        )
        for file, content in zip(files.values(), contents, strict=False):
            write_bytes(folder / file, content)
        notes = notes_of_shares(level_models(graph), coded) | {"plain_levels": list(range(len(files)))}
        return self.variant(Selector(), judged, profile, notes, files={"model": made.name} | files)

    @staticmethod
    def _is_slow(
        made: Path, plain: bytes, graph: CanonicalGraph, profile: DeviceProfile, samples: Mapping[str, Array]
    ) -> bool:
        """Tell whether choosing a level makes the densest one slower here; that of a large network is not timed."""
        if not is_here(profile) or made.stat().st_size > _SMALL_FILE_BYTES:
            return False
        watch = Stopwatch(next(inferences(graph.inputs, samples)), profile.runtime, 1.0)
        with scratch_folder() as temporary:
            alone = Path(temporary, "plain.onnx")
            write_bytes(alone, plain)
            last = len(graph.ladder) - 1
            return watch.is_short(alone) and watch.over_plain(alone, made, last) > LARGEST_OVERHEAD
