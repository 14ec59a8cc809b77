"""`nested-float16`: a whole network in half floats, with levels, for cores that have the arithmetic (asimdhp).

    model.onnx    one branch for all levels, with our kernels over planes of half floats
    model.data    weights as half floats, each once: half the bytes of `ort-nested`

Every level, the densest too, is computed with the nested kernels: there is no dense half-float kernel to compare with.
On x86-64 the same loops are computed in a slow form, which is there to prove a bundle and not to run it. What half
floats cannot hold stays float32 and is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Nested
from elsa_edge.bundle.manifest import Variant
from elsa_edge.calibration import calibration_samples
from elsa_edge.errors import ExportError
from elsa_edge.exporters.float16.range import out_of_range
from elsa_edge.exporters.int8.judge import Judgement, judge
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.layer_set import LayerSet, layer_set_of
from elsa_edge.exporters.nested.stored import Stored
from elsa_edge.exporters.nested.write import write
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.class_axis import class_axes
from elsa_edge.nested_format.library import library_path
from elsa_edge.plugins import Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["NestedFloat16Exporter"]

_ARCHITECTURE: Final = "aarch64"
_FEATURE: Final = "fp16"
_LEAST_TOLERANCE: Final = 1e-3
_LARGEST_TOLERANCE: Final = 0.05  # relative to the largest output; beyond this half floats are not enough
_MARGIN: Final = 2.0  # other inputs, and processors that round once where x86-64 rounds twice
_CHANGED_ANSWERS: Final = 0.02


class NestedFloat16Exporter:
    """Write the branch."""

    name = "nested-float16"
    runtime = "onnxruntime"

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Needs a core with arithmetic of half floats, and a layer that the kernels can compute."""
        hardware = profile.hardware
        if hardware.arch != _ARCHITECTURE or _FEATURE not in hardware.features:
            reason = (
                f"half floats need arithmetic that {profile.name} does not have (hardware.arch {_ARCHITECTURE}, and "
                f"{_FEATURE} among hardware.features): a Cortex-A55, A76 or newer has it, a Cortex-A53 or A72 does "
                "not; there, and on x86-64, use ort-nested or nested-int8"
            )
            return Preflight(False, (reason,))
        if library_path() is None:
            fix = "run: python -m elsa_edge.runtime_adapters.kernels.build"
            return Preflight(False, (f"the kernels are not compiled on this machine; {fix}",))
        layers, refused = find_layers(level_models(graph))
        reasons = tuple(f"{name} stays float32: {reason}" for name, reason in refused.items())
        if not any(_takes(layer) for layer in layers):
            return Preflight(False, ("nested kernels can compute none of its layers", *reasons))
        needs = (
            "real inputs decide what fits half floats: `--golden FILE.npz`, or tflite.calibration of the profile",
            "the device needs the kernels compiled for it, which are proved here in a slow form of the same loops",
        )
        return Preflight(True, (*needs, *reasons))

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write `model.onnx` and `model.data`; see `elsa_edge.plugins.Exporter`.

        Raises:
            ExportError: When half floats cannot hold its values, or change its answers too much.
        """
        samples, _ = calibration_samples(graph.inputs, profile, golden)
        layers = layer_set_of(graph, Stored.FLOAT16)
        candidates = [layer for layer in layers.layers if _takes(layer)]
        refused = out_of_range(layers.models, candidates, samples)
        chosen = frozenset(layer.position for layer in candidates) - refused.keys()
        names = {layer.position: layer.name for layer in layers.layers}
        floats = {names[position]: reason for position, reason in refused.items()}
        if not chosen:
            raise ExportError(
                "Half floats can hold the values of no layer",
                found="; ".join(f"{name}: {reason}" for name, reason in floats.items()),
                fix="Use ort-nested (float32) or nested-int8",
            )
        sizes = write(layers, folder, [chosen] * layers.count)
        judged = judge(folder / "model.onnx", layers.models, samples, class_axes(graph.model))
        self._require_close(judged)
        return self._variant(layers, chosen, judged, sizes, {"float_layers": floats})

    def _require_close(self, judged: Sequence[Judgement]) -> None:
        for level, one in enumerate(judged):
            # Not a number is not below any.
            if not one.difference <= _LARGEST_TOLERANCE:
                raise ExportError(
                    f"Half floats change the outputs of level {level} too much",
                    expected=f"at most {_LARGEST_TOLERANCE:.0%} of the largest output",
                    found=f"{one.difference:.1%}"
                    if np.isfinite(one.difference)
                    else "values that are not finite",
                    fix="Use ort-nested (float32) or nested-int8",
                )

    def _variant(
        self,
        layers: LayerSet,
        chosen: frozenset[int],
        judged: Sequence[Judgement],
        sizes: tuple[int, ...],
        notes: Mapping[str, object],
    ) -> Variant:
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files={"model": "model.onnx", "data": "model.data"},
            instructions=Nested(
                choices=("model",), nested_layers=(tuple(layers.names(chosen)),) * layers.count
            ),
            notes={
                "difference": [round(one.difference, 6) for one in judged],
                "agreement": [round(one.agreement, 6) for one in judged],
                "decided_by": ["request"] * layers.count,
                "needs": "asimdhp: arithmetic of half floats; x86-64 runs it in a slow form, to prove it",
                **notes,
            },
            relative_tolerance=max(_MARGIN * max(one.difference for one in judged), _LEAST_TOLERANCE),
            minimum_agreement=max(0.0, min(one.agreement for one in judged) - _CHANGED_ANSWERS),
            level_bytes=sizes,
        )


def _takes(layer: Layer) -> bool:
    """Tell whether there are half-float kernels for a layer: recurrent ones stay float32."""
    return layer.before is None
