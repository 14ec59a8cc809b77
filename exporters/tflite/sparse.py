"""Exporter `tflite-sparse`: weights stored sparsely, for XNNPACK's sparse kernels or simply for a smaller file."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import ExportError
from elsa_edge.exporters.tflite.compare import require_equal
from elsa_edge.exporters.tflite.convert import missing_converter
from elsa_edge.exporters.tflite.densify import DirectPolicy, encode_weights
from elsa_edge.exporters.tflite.interpreter import Interpreter
from elsa_edge.exporters.tflite.level_models import RUNTIME, convert_levels, write_variant
from elsa_edge.exporters.tflite.model import TfliteModel
from elsa_edge.exporters.tflite.transposes import transposes_images
from elsa_edge.exporters.tflite.xnnpack import Cluster, device_reasons, find_cluster
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.plugins import Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["TfliteSparseExporter"]


# Seen with ai-edge-litert 2.3.0 behind a mean; other places were not tried: one cluster is enough to decide.
_UNSAFE: Final = "XNNPACK's sparse path is not trusted next to a TRANSPOSE of images"


@dataclass(frozen=True)
class _LevelVerdict:
    """What sparse storage would do for one level beside the smaller file."""

    cluster: Cluster
    direct_layers: tuple[str, ...]


def _direct_layers(model: ir.Model, policy: DirectPolicy, batch: int) -> tuple[str, ...]:
    """Return the fully connected layers whose sparse weights a builtin kernel would use directly."""
    found = []
    for node in model.graph:
        weight = node.inputs[1] if node.op_type == "Gemm" else None
        if weight is None or weight.const_value is None or node.attributes.get_float("alpha", 1.0) != 1.0:
            continue
        numbers = weight.const_value.numpy()
        rows_first = numbers if node.attributes.get_int("transB", 0) else numbers.T
        if policy.encoding_for(rows_first, batch) is not None:
            found.append(str(weight.name))
    return tuple(found)


class TfliteSparseExporter:
    """(canonical graph, device profile) -> sparse-encoded TFLite files; see `elsa_edge.plugins.Exporter`."""

    name = "tflite-sparse"
    runtime = RUNTIME

    def _verdicts(self, graph: CanonicalGraph, profile: DeviceProfile) -> list[_LevelVerdict]:
        verdicts = []
        for k in range(len(graph.ladder)):
            model = at_level(graph, k)
            layers = _direct_layers(model, DirectPolicy(), profile.tflite.batch)
            verdicts.append(_LevelVerdict(find_cluster(model), layers))
        return verdicts

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Say for every level whether it would be faster, and why; refuse where only the file would be smaller."""
        missing = missing_converter()
        if missing is not None:
            return Preflight(False, (missing,))
        verdicts = self._verdicts(graph, profile)
        device = device_reasons(profile)
        reasons = list(device)
        words: defaultdict[str, list[str]] = defaultdict(list)  # what holds at which levels
        faster = False
        for level, verdict in zip(graph.ladder, verdicts, strict=True):
            if not device:
                taken = "takes its sparse kernels" if verdict.cluster.sparse else "runs its dense kernels"
                words[f"XNNPACK {taken}: " + "; ".join(verdict.cluster.reasons)].append(level.name)
                faster |= verdict.cluster.sparse
            if verdict.direct_layers:
                faster = True
                words["sparse fully connected kernels for " + ", ".join(verdict.direct_layers)].append(
                    level.name
                )
        reasons += [f"level {', '.join(names)}: {sentence}" for sentence, names in words.items()]
        if faster:
            return Preflight(True, tuple(reasons))
        if profile.tflite.sparse_for_size:
            return Preflight(
                True, (*reasons, "no level would be faster; written for its size (tflite.sparse_for_size)")
            )
        return Preflight(
            False,
            (
                *reasons,
                "it would only be a smaller file; set tflite.sparse_for_size: true in the profile to have that",
            ),
        )

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write the variant; see `elsa_edge.plugins.Exporter`."""
        preflight = self.preflight(graph, profile)
        if not preflight.applies:
            raise ExportError(
                f"tflite-sparse would not be faster on {profile.name}", found="; ".join(preflight.reasons)
            )
        levels = convert_levels(graph, profile, golden)
        models: list[TfliteModel] = []
        saved: list[dict[str, Any]] = []
        for level, converted in zip(graph.ladder, levels.converted, strict=True):
            model = converted.model
            before = Interpreter(model.to_bytes()).run(levels.examples)
            unsafe = find_cluster(at_level(graph, len(models))).begins and transposes_images(model)
            report = encode_weights(model, DirectPolicy(), only=() if unsafe else None)
            after = Interpreter(model.to_bytes()).run(levels.examples)
            require_equal(after, before, f"The sparse file of level {level.name}", "the dense one")
            models.append(model)
            saved.append(
                {
                    "left_dense": _UNSAFE if unsafe else None,
                    "sparse_tensors": sum(line.encoding != "dense" for line in report),
                    "direct": [line.tensor for line in report if line.encoding.endswith("direct")],
                    "dense_bytes": sum(line.dense_bytes for line in report),
                    "stored_bytes": sum(line.stored_bytes for line in report),
                }
            )
        notes = {"sparse": saved, "preflight": list(preflight.reasons)}
        return write_variant(self.name, models, levels, profile, folder, notes=notes)
