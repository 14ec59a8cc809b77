"""`ort-nested`: nested sparse kernels inside ONNX Runtime; weights are stored once, a switch of level costs nothing.

    model.onnx         one branch for each choice of kernels, chosen by the input `level`
    model.data         segments of level 0, then what level 1 adds, ...; dense weights last
    all_nested.onnx    where it differs: the same with nested kernels for all layers of the levels that have any, unless
                       their segments would take many bytes
    level_plain_K.onnx dense levels of a network so small that choosing one in `model.onnx` costs more than 3 %

Each level uses the nested kernels where they are faster and ONNX Runtime's dense ones elsewhere (price.py); on the
device's own kind of machine some choices are timed, and a level that is not faster becomes plainly dense (choose.py,
hold.py).
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Nested, plain_files
from elsa_edge.bundle.manifest import Variant
from elsa_edge.exporters.nested.choose import Verdict, estimate, judge_by_timing, usable
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.forecast import forecast_nested
from elsa_edge.exporters.nested.hold import held, too_slow_to_choose
from elsa_edge.exporters.nested.layer_set import DENSE, KernelChoice, LayerSet, layer_set_of
from elsa_edge.exporters.nested.price import RATES
from elsa_edge.exporters.nested.store import Coded
from elsa_edge.exporters.nested.stored import Stored
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.exporters.nested.write import write, write_dense
from elsa_edge.files import scratch_folder
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.inputs import take_samples
from elsa_edge.nested_format.library import instruction_set, library_path
from elsa_edge.plugins import Forecast, Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["OrtNestedExporter", "OrtNestedInt8Exporter"]

_ARCHITECTURES: Final = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}
_INT8_TOLERANCE: Final = 0.05
# Of the dense weights: what segments may take that only a choice for other machines reads.
_FEW: Final = 0.1
# For timing the finished file, so that large networks do not delay a build.
_SECONDS: Final = 2.0

Array = npt.NDArray[Any]


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
                reasons=("nested kernels can compute none of its layers", *reasons),
            )
        if not self._is_here(profile):
            reasons.append(
                "the device needs the kernels compiled for it: "
                "python -m elsa_edge.runtime_adapters.kernels.build --target ..."
            )
        return Preflight(
            applies=True, reasons=(f"layers that nested kernels can compute: {len(layers)}", *reasons)
        )

    def forecast(self, graph: CanonicalGraph, profile: DeviceProfile) -> Forecast:
        """Return what inferences will take; see `elsa_edge.plugins.Forecaster`."""
        return forecast_nested(graph, profile, int8=self._int8)

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write the files above."""
        form = Stored.INT8 if self._int8 else Stored.FLOAT32
        narrow = self._is_here(profile) and instruction_set() == "avx2"
        layers = layer_set_of(graph, form, narrow=narrow)
        verdicts = self._judge(layers, profile, golden)
        sizes = self._write(layers, folder, profile, verdicts)
        plain: tuple[int, ...] = ()
        if any(verdict.by == "timing" for verdict in verdicts):
            watch = Stopwatch(_one(layers, golden), profile.runtime, _SECONDS / layers.count)
            with scratch_folder() as temporary:
                dense, made = temporary / "dense.onnx", folder / "model.onnx"
                write_dense(layers, dense, layers.count - 1)
                while (again := held(verdicts, watch, dense, made)) != verdicts:
                    verdicts, sizes = again, self._write(layers, folder, profile, again)
                    watch.forget(made)
                plain = too_slow_to_choose(verdicts, watch, dense, made)
            if plain:
                sizes = self._write(layers, folder, profile, verdicts, plain)
        others = self._others(layers, verdicts)
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files={"model": "model.onnx", "data": "model.data", **{name: f"{name}.onnx" for name in others}}
            | plain_files(plain),
            instructions=Nested(
                choices=("model", *others),
                nested_layers=tuple(tuple(layers.names(verdict.choice)) for verdict in verdicts),
            ),
            notes={
                "decided_by": [verdict.by for verdict in verdicts],
                "time_over_dense": [verdict.time_over_dense for verdict in verdicts],
                **({"plain_levels": list(plain)} if plain else {}),
            },
            level_bytes=sizes,
            **({"relative_tolerance": _INT8_TOLERANCE} if self._int8 else {}),
        )

    def _write(
        self,
        layers: LayerSet,
        folder: Path,
        profile: DeviceProfile,
        verdicts: Sequence[Verdict],
        plain: Collection[int] = (),
    ) -> tuple[int, ...]:
        """Write the files, and those of plain levels; return the bytes of weights that each level reads."""
        chosen = [verdict.choice for verdict in verdicts]
        keep_dead = [level for level, verdict in enumerate(verdicts) if verdict.keep_dead]
        others = self._others(layers, verdicts)
        folds = profile.runtime.optimization != "none"
        return write(
            layers, folder, chosen, others=others, keep_dead=keep_dead, masks_fold=folds, plain=plain
        )

    def _others(self, layers: LayerSet, verdicts: Sequence[Verdict]) -> dict[str, list[KernelChoice]]:
        """Return choices that the device may prefer (`elsa-edge profile` times them there); they cost few bytes."""
        if self._choose != "auto":
            return {}
        chosen = [verdict.choice for verdict in verdicts]
        everything = _with_more_nested(layers, chosen)
        return {} if everything == chosen else {"all_nested": everything}

    def _judge(self, layers: LayerSet, profile: DeviceProfile, golden: Golden) -> list[Verdict]:
        if self._choose != "auto":
            choice = layers.every if self._choose == "nested" else DENSE
            return [Verdict(choice, "request")] * layers.count
        rates = RATES[profile.hardware.arch]
        if not self._is_here(profile):
            return estimate(layers, rates)
        return judge_by_timing(layers, rates, _one(layers, golden), profile.runtime)

    @staticmethod
    def _is_here(profile: DeviceProfile) -> bool:
        return (
            _ARCHITECTURES.get(platform.machine()) == profile.hardware.arch and profile.hardware.os == "linux"
        )


def _one(layers: LayerSet, golden: Golden) -> dict[str, Array]:
    """Return the first golden sample."""
    return take_samples(layers.graph.inputs, golden.inputs, 0, 1)


def _with_more_nested(layers: LayerSet, chosen: Sequence[KernelChoice]) -> list[KernelChoice]:
    """Return the choice of all layers for the levels that have any, but where that takes more than few bytes.

    A dense level's segments alone would take one and a half times the bytes of its dense weights.
    """
    stored = {(place, k) for level, choice in enumerate(chosen) for place in choice for k in range(level + 1)}
    few_bytes = _FEW * sum(layer.weight.nbytes for layer in layers.layers)
    found = []
    for level, choice in enumerate(chosen):
        wished = usable(layers) if choice else choice
        more = {(place, k) for place in wished for k in range(level + 1)} - stored
        if sum(_segment_bytes(layers.coded.get(place), k) for place, k in more) <= few_bytes:
            stored |= more
            found.append(wished)
        else:
            found.append(choice)
    return found


def _segment_bytes(coded: Coded | None, level: int) -> int:
    """Return the bytes that a level adds to a layer; depthwise layers have no segments."""
    if coded is None:
        return 0
    own = coded.segments[level].nbytes if level < len(coded.segments) else 0
    return own + _segment_bytes(coded.before, level)


class OrtNestedInt8Exporter(OrtNestedExporter):
    """The same with 8-bit weights: half the memory of the weights, close to the float network but not equal."""

    def __init__(self) -> None:
        super().__init__(int8=True)
