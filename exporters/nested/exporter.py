"""`ort-nested`: nested sparse kernels inside ONNX Runtime; weights are stored once, a switch of level costs nothing.

    model.onnx         one branch for each choice of kernels, chosen by the input `level`
    model.data         segments of level 0, then what level 1 adds, ...; dense weights last
    all_nested.onnx    where it differs: the same with nested kernels for all layers of the levels that have any

Each level uses the nested kernels where they are faster and ONNX Runtime's dense ones elsewhere (price.py); on the
device's own kind of machine some choices are timed, and a level that is not faster becomes plainly dense (choose.py).
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Nested
from elsa_edge.bundle.manifest import Variant
from elsa_edge.exporters.nested.choose import Decision, decide_by_timing, estimate, usable
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.plan import Choice, Plan
from elsa_edge.exporters.nested.price import RATES
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.nested_format.library import library_path
from elsa_edge.plugins import Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["OrtNestedExporter", "OrtNestedInt8Exporter"]

_ARCHITECTURES: Final = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}
_INT8_TOLERANCE: Final = 0.05


class OrtNestedExporter:
    """Write the branches.

    Args:
        int8: Store the weights of nested layers as 8-bit codes with a scale a row.
        choose: "auto" decides by cost and timing; "nested" and "dense" take one kind everywhere (for comparisons).
    """

    name = "ort-nested"
    runtime = "onnxruntime"

    def __init__(self, *, int8: bool = False, choose: str = "auto") -> None:
        self._int8 = int8
        self._choose = choose
        if int8:
            self.name = "ort-nested-int8"

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Needs a processor that the kernels are written for, and a layer that they can compute."""
        arch = profile.hardware.arch
        if arch not in RATES:
            return Preflight(
                applies=False,
                reasons=(f"there are no nested kernels for {arch}, only for {', '.join(RATES)}",),
            )
        if self._is_here(profile) and library_path() is None:
            fix = "run: python -m elsa_edge.runtime_adapters.kernels.build"
            return Preflight(applies=False, reasons=(f"the kernels are not compiled on this machine; {fix}",))
        layers, refused = find_layers(level_models(graph))
        reasons = [f"{name} stays dense: {reason}" for name, reason in refused.items()]
        if not layers:
            return Preflight(
                applies=False,
                reasons=("no layer is a convolution or product with a constant weight", *reasons),
            )
        if not self._is_here(profile):
            reasons.append(
                "the device needs the kernels compiled for it: "
                "python -m elsa_edge.runtime_adapters.kernels.build --target ..."
            )
        return Preflight(applies=True, reasons=(f"{len(layers)} layers can use nested kernels", *reasons))

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write the files above."""
        plan = Plan(graph, int8=self._int8)
        decisions = self._decide(plan, profile, golden)
        chosen = [decision.choice for decision in decisions]
        others = self._others(plan, chosen)
        keep_dead = [level for level, decision in enumerate(decisions) if decision.keep_dead]
        sizes = plan.write(folder, chosen, others=others, keep_dead=keep_dead)
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files={"model": "model.onnx", "data": "model.data", **{name: f"{name}.onnx" for name in others}},
            instructions=Nested(
                choices=("model", *others),
                nested_layers=tuple(tuple(plan.names(decision.choice)) for decision in decisions),
            ),
            notes={
                "decided_by": [decision.by for decision in decisions],
                "time_over_dense": [decision.time_over_dense for decision in decisions],
            },
            level_bytes=sizes,
            **({"relative_tolerance": _INT8_TOLERANCE} if self._int8 else {}),
        )

    def _others(self, plan: Plan, chosen: list[Choice]) -> dict[str, list[Choice]]:
        """Return choices that the device may prefer (`elsa-edge profile` times them there); they cost few bytes."""
        if self._choose != "auto":
            return {}
        everything = [usable(plan) if choice else choice for choice in chosen]
        return {} if everything == chosen else {"all_nested": everything}

    def _decide(self, plan: Plan, profile: DeviceProfile, golden: Golden) -> list[Decision]:
        if self._choose != "auto":
            choice = plan.every if self._choose == "nested" else frozenset[int]()
            return [Decision(choice, "request")] * plan.count
        rates = RATES[profile.hardware.arch]
        if not self._is_here(profile):
            return estimate(plan, rates)
        sample = {name: array[:1] for name, array in golden.inputs.items()}
        return decide_by_timing(plan, rates, sample, profile.runtime)

    @staticmethod
    def _is_here(profile: DeviceProfile) -> bool:
        return (
            _ARCHITECTURES.get(platform.machine()) == profile.hardware.arch and profile.hardware.os == "linux"
        )


class OrtNestedInt8Exporter(OrtNestedExporter):
    """The same with 8-bit weights: half the memory of the weights, close to the float network but not equal."""

    def __init__(self) -> None:
        super().__init__(int8=True)
