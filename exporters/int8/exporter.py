"""`nested-int8`: whole networks in 8 bits, our kernels over nested blocks where they beat the dense 8-bit network.

That is decided for whole levels or for single layers of a level; elsewhere the level is that network (choose.py).
Ranges come from real inputs, and the variant says how far it is from the float network at every level (base.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Nested, plain_files
from elsa_edge.bundle.manifest import Variant
from elsa_edge.calibration import calibration_samples
from elsa_edge.exporters.int8.base import Int8Exporter, notes_of_shares
from elsa_edge.exporters.int8.candidates import Mix, candidates
from elsa_edge.exporters.int8.choose import WORTHWHILE, Choice, by_density, by_timing, time_again
from elsa_edge.exporters.int8.finish import Written, finish
from elsa_edge.exporters.int8.forecast import forecast_nested8
from elsa_edge.exporters.int8.judge import judge
from elsa_edge.exporters.int8.ort_int8 import OrtInt8Exporter
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.exporters.int8.settle import settle
from elsa_edge.exporters.int8.share import coded_nodes
from elsa_edge.exporters.int8.write import write8
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.price import RATES
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.exporters.ort.smaller import is_here
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.class_axis import class_axes
from elsa_edge.nested_format.library import library_path
from elsa_edge.plugins import Forecast, Preflight
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.quantise.samples import inferences

# Plug-ins are found here, both of them.
__all__ = ["NestedInt8Exporter", "OrtInt8Exporter"]

_SECONDS: Final = 6.0

Array = npt.NDArray[Any]


class NestedInt8Exporter(Int8Exporter):
    """Write the branches.

    Args:
        choose: "auto" decides by timing; "nested" and "dense" take one kind everywhere (for comparisons).
        strict: False writes levels whose answers 8 bits change, for timing networks with random weights; what comes
            of it proves nothing and belongs in no bundle.
    """

    name = "nested-int8"

    def __init__(self, choose: Literal["auto", "nested", "dense"] = "auto", *, strict: bool = True) -> None:
        self._choose = choose
        self.strict = strict

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Needs a processor that the kernels are written for, and a layer that they can compute."""
        arch = profile.hardware.arch
        if arch not in RATES:
            return Preflight(False, (f"there are no 8-bit kernels for {arch}",))
        if is_here(profile) and library_path() is None:
            fix = "run: python -m elsa_edge.runtime_adapters.kernels.build"
            return Preflight(False, (f"the kernels are not compiled on this machine; {fix}",))
        layers, refused = find_layers(level_models(graph))
        reasons = tuple(f"{name} stays dense: {reason}" for name, reason in refused.items())
        if not layers:
            return Preflight(False, ("nested kernels can compute none of its layers", *reasons))
        origin = profile.tflite.calibration or "the golden inputs, which must be real ones"
        return Preflight(True, (f"ranges come from {origin}", *reasons))

    def forecast(self, graph: CanonicalGraph, profile: DeviceProfile) -> Forecast | None:
        """Return what inferences will take; see `elsa_edge.plugins.Forecaster`."""
        return forecast_nested8(graph, profile) if profile.hardware.arch in RATES else None

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write `model.onnx` and `model.data`; see `elsa_edge.plugins.Exporter`."""
        samples, _ = calibration_samples(graph.inputs, profile, golden)
        plan = Plan8(graph, samples)
        dense: dict[int, ir.Model] = {}

        def dense_at(level: int) -> ir.Model:
            if level not in dense:
                dense[level] = dense8(graph, level, samples, profile)
            return dense[level].clone()

        recipe = settle(plan, samples, lambda one: self.good(one, profile))
        with scratch_folder() as temporary:
            rival = Path(temporary, "dense.onnx")
            one = next(inferences(graph.inputs, samples))
            watch = Stopwatch(one, profile.runtime, _SECONDS / plan.count)
            made = folder / "model.onnx"

            def write(choices: Sequence[Choice], plain: Collection[int]) -> Written:
                watch.forget(made)
                sizes = write8(plan, [choice.mix for choice in choices], dense_at, folder, plain=plain)
                return Written(sizes, judge(made, plan.models, samples, class_axes(graph.model)))

            finished = finish(
                self._decide(plan, profile, watch, dense_at, rival),
                write,
                lambda one: self.good(one, profile),
                lambda choices: time_again(choices, watch, rival, made),
                lambda: watch.is_short(rival),
            )
        choices = finished.choices
        faster = [None if c.time_over_dense is None else c.time_over_dense <= WORTHWHILE for c in choices]
        layers = tuple(tuple(plan.names_of(choice.mix.nested)) for choice in choices)
        return self.variant(
            Nested(choices=("model",), nested_layers=layers), finished.written.judged, profile,
            {
                "recipe": recipe,
                "float_layers": dict(plan.refused),
                **notes_of_shares(plan.models, [_coded(plan, c.mix, dense_at, k) for k, c in enumerate(choices)]),
                "kernels": [choice.kind for choice in choices],
                "decided_by": [choice.by for choice in choices],
                "time_over_dense_int8": [choice.time_over_dense for choice in choices],
                "faster_than_dense_int8": faster,
                "time_in_the_file_over_dense_int8": finished.over_dense,
                "plain_levels": list(finished.plain),
            },
            files={"model": "model.onnx", "data": "model.data"} | plain_files(finished.plain),
            level_bytes=finished.written.level_bytes,
        )  # fmt: skip

    def _decide(
        self,
        plan: Plan8,
        profile: DeviceProfile,
        watch: Stopwatch,
        dense_at: Callable[[int], ir.Model],
        rival: Path,
    ) -> list[Choice]:
        """Return each level's choice; where it is timed, the dense 8-bit network stays at `rival`."""
        every = Mix(frozenset(plan.layers))
        if self._choose != "auto":
            return [Choice(every if self._choose == "nested" else Mix(frozenset()), "request")] * plan.count
        if not is_here(profile):
            return by_density(plan.graph.ladder, every)
        last = plan.count - 1
        others = plan.has_others(dense_at(last))
        found = [candidates(plan.layers, plan.linked(), level, others=others) for level in range(plan.count)]
        files = []
        for number in range(max(map(len, found))):
            files.append(rival.parent / str(number) / "model.onnx")
            files[-1].parent.mkdir()
            # Weights do not change the time of dense kernels: those of the densest level stand for all.
            mixes = [mixes[number] if number < len(mixes) else every for mixes in found]
            write8(plan, mixes, lambda _: dense_at(last), files[-1].parent)
        write_bytes(rival, ir.to_proto(dense_at(last)).SerializeToString())
        return by_timing(watch, rival, files, found)


def _coded(plan: Plan8, mix: Mix, dense_at: Callable[[int], ir.Model], level: int) -> Collection[str]:
    """Return the names of a level's nodes that are computed in 8 bits."""
    nested = plan.nodes_of(mix.nested)
    if mix.nested and not mix.others_dense8:
        return nested
    return nested | (coded_nodes(dense_at(level)) - (plan.left_out if mix.nested else frozenset()))
