"""`nested-int8` and `ort-int8`: whole networks in 8 bits, with levels.

    nested-int8   our kernels over nested blocks where they beat the dense 8-bit network, for whole levels or for single
                  layers of a level; that network elsewhere
    ort-int8      ONNX Runtime's dense kernels, a plain network a level: what the other has to beat

Both take their ranges from real inputs and say how far they are from the float network at every level.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Instructions, Nested, Selector, plain_files
from elsa_edge.bundle.manifest import Variant
from elsa_edge.calibration import calibration_samples
from elsa_edge.errors import ExportError
from elsa_edge.exporters.int8.candidates import Mix, candidates
from elsa_edge.exporters.int8.choose import (
    WORTHWHILE,
    Choice,
    by_density,
    by_timing,
    time_again,
)
from elsa_edge.exporters.int8.finish import Written, finish
from elsa_edge.exporters.int8.forecast import forecast_dense8, forecast_nested8
from elsa_edge.exporters.int8.judge import LARGEST_TOLERANCE, Judgement, judge
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.exporters.int8.settle import settle
from elsa_edge.exporters.int8.share import coded_nodes, eight_bit_share
from elsa_edge.exporters.int8.write import write8
from elsa_edge.exporters.nested.file import join
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.price import RATES
from elsa_edge.exporters.nested.timing import LARGEST_OVERHEAD, Stopwatch
from elsa_edge.exporters.ort.smaller import is_here
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.nested_format.library import library_path
from elsa_edge.plugins import Forecast, Preflight
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.quantise.samples import inferences

__all__ = ["NestedInt8Exporter", "OrtInt8Exporter"]

_SECONDS: Final = 6.0
# Plain files of all levels double what ort-int8 weighs; networks beyond this take long enough not to need them.
_SMALL_FILE_BYTES: Final = 16_000_000
_LEAST_TOLERANCE: Final = 1e-3
_MARGIN: Final = 1.5  # other inputs than those of the calibration

Array = npt.NDArray[Any]


class _Int8Exporter:
    """What both have in common."""

    name: str
    runtime = "onnxruntime"
    _strict = True

    def _variant(
        self,
        instructions: Instructions,
        judged: Sequence[Judgement],
        profile: DeviceProfile,
        notes: Mapping[str, Any],
        *,
        files: dict[str, str],
        level_bytes: tuple[int, ...] = (),
    ) -> Variant:
        """Describe the files, or refuse a network that is not the same any more.

        Raises:
            ExportError: When a level's answers changed too often or too much.
        """
        allowed = profile.tflite.int8_changed_answers
        for level, one in enumerate(judged):
            if not self._good(one, profile):
                none_may = one.agreement < 1 and allowed * one.answers < 1 <= one.answers
                of_few = f" of only {one.answers}" if none_may else ""
                raise ExportError(
                    f"8 bits change too many answers of level {level}",
                    expected=f"at least {1 - allowed:.1%} of the largest outputs unchanged, no output off by more than "
                    f"{LARGEST_TOLERANCE:.0%}",
                    found=f"{one.agreement:.1%}{of_few}, off by {one.difference:.1%}",
                    fix=("Of so few not one may change. " if none_may else "")
                    + "Calibrate with more and more typical inputs, or allow more with tflite.int8_changed_answers",
                )
        tolerance = max(_MARGIN * max(one.difference for one in judged), _LEAST_TOLERANCE)
        if not self._strict:
            tolerance = min(tolerance, LARGEST_TOLERANCE)
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files=files,
            instructions=instructions,
            notes={
                "difference": [round(one.difference, 6) for one in judged],
                "agreement": [round(one.agreement, 6) for one in judged],
                **notes,
            },
            relative_tolerance=tolerance,
            minimum_agreement=max(0.0, min(one.agreement for one in judged) - allowed),
            level_bytes=level_bytes,
        )

    def _good(self, one: Judgement, profile: DeviceProfile) -> bool:
        """Tell whether a level is still the same network."""
        changed = 1 - one.agreement > profile.tflite.int8_changed_answers
        return not self._strict or not (changed or one.difference > LARGEST_TOLERANCE)


class NestedInt8Exporter(_Int8Exporter):
    """Write the branches.

    Args:
        choose: "auto" decides by timing; "nested" and "dense" take one kind everywhere (for comparisons).
        strict: False writes levels whose answers 8 bits change, for timing networks with random weights; what comes
            of it proves nothing and belongs in no bundle.
    """

    name = "nested-int8"

    def __init__(self, choose: Literal["auto", "nested", "dense"] = "auto", *, strict: bool = True) -> None:
        self._choose = choose
        self._strict = strict

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

        recipe = settle(plan, samples, lambda one: self._good(one, profile))
        with scratch_folder() as temporary:
            rival = Path(temporary, "dense.onnx")
            one = next(inferences(graph.inputs, samples))
            watch = Stopwatch(one, profile.runtime, _SECONDS / plan.count)
            made = folder / "model.onnx"

            def write(choices: Sequence[Choice], plain: Collection[int]) -> Written:
                watch.forget(made)
                sizes = write8(plan, [choice.mix for choice in choices], dense_at, folder, plain=plain)
                return Written(sizes, judge(made, plan.models, samples))

            finished = finish(
                self._decide(plan, profile, watch, dense_at, rival),
                write,
                lambda one: self._good(one, profile),
                lambda choices: time_again(choices, watch, rival, made),
            )
        choices = finished.choices
        faster = [None if c.time_over_dense is None else c.time_over_dense <= WORTHWHILE for c in choices]
        layers = tuple(tuple(plan.names_of(choice.mix.nested)) for choice in choices)
        return self._variant(
            Nested(choices=("model",), nested_layers=layers), finished.written.judged, profile,
            {
                "recipe": recipe,
                "float_layers": dict(plan.refused),
                **_notes_of_shares(plan.models, [_coded(plan, c.mix, dense_at, k) for k, c in enumerate(choices)]),
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


class OrtInt8Exporter(_Int8Exporter):
    """Write a plain dense 8-bit network for every level, chosen by the level input.

    Args:
        strict: As `NestedInt8Exporter` has it.
    """

    name = "ort-int8"

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict

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
        judged = judge(made, level_models(graph), samples)
        files = (
            plain_files(range(count)) if self._is_slow(made, contents[-1], graph, profile, samples) else {}
        )
        for file, content in zip(files.values(), contents, strict=False):
            write_bytes(folder / file, content)
        notes = _notes_of_shares(level_models(graph), coded) | {"plain_levels": list(range(len(files)))}
        return self._variant(Selector(), judged, profile, notes, files={"model": made.name} | files)

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
            return watch.over_plain(alone, made, len(graph.ladder) - 1) > LARGEST_OVERHEAD


def _notes_of_shares(models: Sequence[ir.Model], coded: Sequence[Collection[str]]) -> dict[str, list[float]]:
    """Return what each level computes in 8 bits, given the names of the nodes that do."""
    shares = [eight_bit_share(model, nodes) for model, nodes in zip(models, coded, strict=True)]
    return {"int8_weights": [w for w, _ in shares], "int8_multiply_adds": [m for _, m in shares]}
