"""`ort-nested`: nested sparse kernels inside ONNX Runtime; weights are stored once, a switch of level costs nothing.

    model.onnx    one branch for each choice of kernels, chosen by the input `level`
    model.data    segments of level 0, then what level 1 adds, ...; dense weights last

Each level uses the nested kernels where they are faster and ONNX Runtime's dense ones elsewhere (cost.py); on the
device's own kind of machine the choice is also timed, and a level that is not faster becomes plainly dense.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from device_profiles.schema import DeviceProfile
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from exporters.ort_nested.bundle import join, save
from exporters.ort_nested.cost import RATES, choose_layers
from exporters.ort_nested.layers import Layer, array_of, find_layers, level_models
from exporters.ort_nested.leaf import nested_branch, tensor_names
from exporters.ort_nested.segments import Coded, code_layer
from exporters.ort_nested.timing import faster_levels
from exporters.protocol import Preflight
from runtime_adapters.kernels import library_path

__all__ = ["Choice", "OrtNestedExporter"]

_ARCHITECTURES: Final = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Choice:
    """What `ort-nested` decided for one level.

    Attributes:
        nested: Names of the layers that nested kernels compute; empty for plain dense.
        layers: How many layers could have been.
    """

    nested: tuple[str, ...]
    layers: int


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
            fix = "run: python -m runtime_adapters.kernels.build"
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
                "the device needs the kernels compiled for it: python -m runtime_adapters.kernels.build --target ..."
            )
        return Preflight(applies=True, reasons=(f"{len(layers)} layers can use nested kernels", *reasons))

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write `model.onnx` and `model.data`."""
        plan = _Plan(graph, self._int8)
        count = len(graph.ladder)
        rates = RATES[profile.hardware.arch]
        every = frozenset(layer.position for layer in plan.layers)
        if self._choose == "auto":
            nodes = list(plan.models[-1].graph)
            chosen = [choose_layers(nodes, plan.layers, plan.coded, level, rates) for level in range(count)]
            if self._is_here(profile):
                chosen = self._timed(plan, chosen, golden)
        else:
            chosen = [every if self._choose == "nested" else frozenset()] * count
        sizes = plan.write(folder, chosen)
        named = {layer.position: layer.name for layer in plan.layers}
        choices = [sorted(named[position] for position in positions) for positions in chosen]
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files={"model": "model.onnx", "data": "model.data"},
            options={"kind": "nested", "custom_ops": True, "level_count": count, "nested_layers": choices},
            level_bytes=tuple(
                sum(sizes[: level + 1]) if chosen[level] else sizes[-1] for level in range(count)
            ),
            **({"relative_tolerance": _INT8_TOLERANCE} if self._int8 else {}),
        )

    @staticmethod
    def _is_here(profile: DeviceProfile) -> bool:
        return (
            _ARCHITECTURES.get(platform.machine()) == profile.hardware.arch and profile.hardware.os == "linux"
        )

    @staticmethod
    def _timed(plan: _Plan, chosen: list[frozenset[int]], golden: Golden) -> list[frozenset[int]]:
        """Keep a level's choice only where it is faster here than the dense network of that level."""
        first = {name: array[:1] for name, array in golden.inputs.items()}
        with tempfile.TemporaryDirectory() as temporary:
            nested, dense = Path(temporary, "nested"), Path(temporary, "dense")
            for folder, choice in ((nested, chosen), (dense, [frozenset[int]()] * len(chosen))):
                folder.mkdir()
                plan.write(folder, choice)
            levels = [level for level, positions in enumerate(chosen) if positions]
            keep = faster_levels(nested / "model.onnx", dense / "model.onnx", first, levels)
        return [positions if level in keep else frozenset() for level, positions in enumerate(chosen)]


_INT8_TOLERANCE: Final = 0.05


class _Plan:
    """The layers of a network and their segments, ready to be written with any choice."""

    def __init__(self, graph: CanonicalGraph, int8: bool) -> None:
        self.graph = graph
        self.models = level_models(graph)
        self.layers, _ = find_layers(self.models)
        count = len(graph.ladder)
        self.coded: dict[int, Coded] = {
            layer.position: code_layer(layer, count, int8=int8)
            for layer in self.layers
            if layer.kind != "depthwise"
        }

    def write(self, folder: Path, chosen: list[frozenset[int]]) -> list[int]:
        """Write the graph with each level's chosen layers; return the bytes of each level's part and of the rest."""
        count = len(chosen)
        by_position = {layer.position: layer for layer in self.layers}
        branches: list[tuple[int, ir.Model]] = []
        for first, last in self._spans(chosen):
            if chosen[first]:
                layers = [by_position[position] for position in sorted(chosen[first])]
                branches.append((first, nested_branch(self.models[last], layers, self.coded, last)))
            else:
                branches.append((first, at_level(self.graph, first)))
        used = frozenset().union(*chosen)
        tensors, parts = self._tensors([layer for layer in self.layers if layer.position in used], count)
        return save(join(branches, tensors, count, self.graph.model.graph), folder, parts)

    def _spans(self, chosen: list[frozenset[int]]) -> list[tuple[int, int]]:
        """Return (first, last) levels that one branch can serve: the same choice, and nothing else differs by level."""
        spans: list[tuple[int, int]] = []
        for level, positions in enumerate(chosen):
            if (
                spans
                and positions
                and chosen[spans[-1][1]] == positions
                and self._alike(spans[-1][1], level, positions)
            ):
                spans[-1] = (spans[-1][0], level)
            else:
                spans.append((level, level))
        return spans

    def _alike(self, a: int, b: int, positions: frozenset[int]) -> bool:
        """Tell whether two levels agree in every constant outside the chosen layers."""
        inside = {
            p
            for layer in self.layers
            if layer.position in positions
            for p in (layer.position, *layer.absorbed)
        }
        for position, (first, second) in enumerate(
            zip(self.models[a].graph, self.models[b].graph, strict=True)
        ):
            if position in inside:
                continue
            for left, right in zip(first.inputs, second.inputs, strict=True):
                x, y = array_of(left), array_of(right)
                if (x is None) != (y is None) or (x is not None and y is not None and not _same(x, y)):
                    return False
        return True

    def _tensors(
        self, layers: list[Layer], count: int
    ) -> tuple[Mapping[str, npt.NDArray[Any]], list[list[str]]]:
        """Return the tensors that branches share and their order: part k holds what level k adds."""
        tensors: dict[str, npt.NDArray[Any]] = {}
        parts: list[list[str]] = [[] for _ in range(count)]
        for layer in layers:
            coded = self.coded.get(layer.position)
            names = tensor_names(layer, coded)
            if coded is None:
                arrays: list[npt.NDArray[Any]] = [layer.table, _by_level(layer, count)]
            else:
                arrays = [coded.table, *coded.segments]
            for place, (name, array) in enumerate(zip(names, arrays, strict=True)):
                tensors[name] = array
                parts[max(0, place - 1)].append(name)
        return tensors, parts


def _same(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()


def _by_level(layer: Layer, count: int) -> npt.NDArray[np.float32]:
    """Return depthwise weights (levels, channels, taps), or (1, ...) where no level differs."""
    every = np.stack([np.where(layer.index <= level, layer.weight, 0) for level in range(count)]).astype(
        np.float32
    )
    return every[:1] if all(np.array_equal(every[0], other) for other in every[1:]) else every
