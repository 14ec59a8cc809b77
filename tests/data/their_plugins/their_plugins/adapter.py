"""`their-numpy`: a runtime of products and maxima, which needs nothing but numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle.instructions import Other
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import BundleError, ElsaError
from elsa_edge.plugins import NO_CACHE, CacheState, MemoryUse, Opened, check_level
from elsa_edge.profiles.schema import Runtime
from elsa_edge.tensors import TensorSpec, check_inputs

Array = npt.NDArray[Any]


class NumpyAdapter:
    """See `elsa_edge.plugins.Adapter`."""

    def missing(self, variant: Variant) -> str | None:
        """Nothing but a kind that it does not know."""
        known = isinstance(variant.instructions, Other) and variant.instructions.kind == "other:their-rows"
        return None if known else f"their-numpy does not know the kind {variant.instructions.kind}"

    def choices(self, variant: Variant) -> tuple[str, ...]:
        """None."""
        return ()

    def open(
        self, folder: Path, variant: Variant, *, level_count: int, runtime: Runtime, cache: Path | None
    ) -> Opened:
        """Read the arrays of every level."""
        del runtime, cache
        if self.missing(variant) is not None or not isinstance(variant.instructions, Other):
            raise BundleError(f"their-numpy cannot open the variant {variant.name}")
        layers = []
        for level in range(level_count):
            with np.load(folder / variant.files[f"rows_{level}"], allow_pickle=False) as arrays:
                count = len(arrays.files) // 2
                layers.append(
                    [(arrays[f"weight_{place}"], arrays[f"bias_{place}"]) for place in range(count)]
                )
        settings = variant.instructions.settings
        return Opened_(layers, settings["input"], settings["output"], variant.level_bytes)


class Opened_:  # noqa: N801 - a third party calls its classes as it likes
    """See `elsa_edge.plugins.Opened`."""

    def __init__(
        self, layers: list[list[tuple[Array, Array]]], given: str, answer: str, sizes: tuple[int, ...]
    ) -> None:
        self._layers, self._sizes, self._closed = layers, sizes, False
        self._inputs = {given: TensorSpec(given, (None, layers[0][0][0].shape[1]))}
        self._outputs = {answer: TensorSpec(answer, (None, layers[0][-1][0].shape[0]))}

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""
        return self._outputs

    @property
    def level_count(self) -> int:
        """How many levels there are."""
        return len(self._layers)

    @property
    def cache(self) -> CacheState:
        """Nothing is derived."""
        return NO_CACHE

    def run(self, inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        """Multiply, add, and clip all but the last."""
        if self._closed:
            raise ElsaError("The network is closed")
        layers = self._layers[check_level(level, len(self._layers))]
        ((_, x),) = check_inputs(self._inputs, inputs).items()
        for place, (weight, bias) in enumerate(layers):
            x = x @ weight.T + bias
            if place < len(layers) - 1:
                x = np.maximum(x, 0)
        return dict.fromkeys(self._outputs, x)

    def memory(self) -> MemoryUse:
        """All levels are resident."""
        return MemoryUse(sum(self._sizes), (0,) * len(self._layers))

    def close(self) -> None:
        """Closing twice is fine."""
        self._closed = True
