"""Run TFLite variants: ai-edge-litert, or the older tflite-runtime where there is nothing newer (32-bit ARM).

    kind "signatures": one file, one interpreter, one signature per level; a switch costs nothing
    kind "files":      one file per level, one interpreter at a time; least memory, a switch loads the other file

Sessions always speak the canonical graph's language: its names, shapes (N, C, H, W) and types, any batch. What the file
wants instead (channels last, a fixed batch, int8) stands in the variant's options and is converted here.
Needs numpy and one of the two runtimes, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import BundleError
from elsa_edge.plugins import MemoryUse, check_level
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.litert.engines import Engine, ModelFile, open_engine
from elsa_edge.tensors import TensorSpec, check_inputs

__all__ = ["LitertAdapter", "open_variant"]

Array = npt.NDArray[Any]
_TO_NHWC: Final = (0, 2, 3, 1)


@dataclass(frozen=True)
class _Port:
    """An input or output as the exporter described it; see exporters/tflite/ports.py."""

    spec: TensorSpec
    layout: str
    file_shape: tuple[int, ...]
    file_dtype: str

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> _Port:
        spec = TensorSpec(row["name"], tuple(row["shape"]), row["dtype"])
        return cls(spec, row["layout"], tuple(row["file_shape"]), row["file_dtype"])

    @property
    def free_batch(self) -> bool:
        return bool(self.spec.shape) and self.spec.shape[0] is None

    def to_file(self, array: Array) -> Array:
        """Canonical -> file: layout and type."""
        if self.layout == "NHWC":
            array = array.transpose(_TO_NHWC)
        return np.ascontiguousarray(array, self.file_dtype)

    def from_file(self, array: Array) -> Array:
        """File -> canonical."""
        return np.ascontiguousarray(array, self.spec.dtype)


class LitertAdapter:
    """A loaded TFLite variant; see `elsa_edge.plugins.RuntimeAdapter`."""

    def __init__(self, folder: Path, variant: Variant, runtime: Runtime, cache: Path | None) -> None:
        options = variant.options
        try:
            self._kind: str = options["kind"]
            self._batch = int(options["batch"])
            self._stateful = bool(options["stateful"])  # recurrent kernels keep their state from run to run
            self._in_ports = {row["name"]: _Port.from_json(row) for row in options["inputs"]}
            self._out_ports = {row["name"]: _Port.from_json(row) for row in options["outputs"]}
            self._level_count = int(options["level_count"])
            roles = (
                ["model"] if self._kind == "signatures" else [f"level_{k}" for k in range(self._level_count)]
            )
            self._files = [folder / variant.files[role] for role in roles]
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"The variant {variant.name} does not describe a TFLite model ({type(error).__name__}: {error})",
                fix="Build the bundle again",
            ) from error
        for file in self._files:
            if not file.is_file():
                raise BundleError(f"The TFLite file {file} is missing")
        self._level_bytes = variant.level_bytes or tuple(file.stat().st_size for file in self._files)
        self._runtime = runtime
        self._cache = cache
        self._engine: Engine | None = None
        self._loaded = -1
        self._closed = False
        self._open(self._level_count - 1 if self._kind == "signatures" else 0)

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name, without the level."""
        return {name: port.spec for name, port in self._in_ports.items()}

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""
        return {name: port.spec for name, port in self._out_ports.items()}

    @property
    def level_count(self) -> int:
        """How many levels the variant has."""
        return self._level_count

    def _open(self, level: int) -> Engine:
        """Return the engine that runs `level`; the engine of another file is closed before this one is opened."""
        if self._closed:
            raise BundleError("This adapter is closed", fix="Open the bundle again")
        place = 0 if self._kind == "signatures" else level
        if self._engine is None or self._loaded != place:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            keys = [f"level_{k}" for k in range(self.level_count)] if self._kind == "signatures" else [None]
            model = ModelFile(self._files[place], tuple(keys), tuple(self._in_ports), tuple(self._out_ports))
            self._engine = open_engine(model, self._runtime, self._cache, stateful=self._stateful)
            self._loaded = place
        return self._engine

    def run(self, inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        """Run one inference at `level`, switching first where needed.

        Raises:
            InputError: When an input's name, shape or type is wrong.
            LevelError: When the variant has no such level.
        """
        level = check_level(level, self._level_count)
        ready = check_inputs(self.inputs, inputs)
        engine = self._open(level)
        key = f"level_{level}" if self._kind == "signatures" else None
        count = next(
            (len(ready[name]) for name, port in self._in_ports.items() if port.free_batch), self._batch
        )
        pieces = []
        for start in range(0, max(count, 1), self._batch):
            feed = {
                name: port.to_file(self._piece(port, ready[name], start))
                for name, port in self._in_ports.items()
            }
            if self._stateful:
                engine.reset()
            found = engine.run(key, feed)
            pieces.append({name: port.from_file(found[name]) for name, port in self._out_ports.items()})
        if len(pieces) == 1 and count == self._batch:
            return pieces[0]
        return {
            name: np.concatenate([piece[name] for piece in pieces])[:count]
            if port.free_batch
            else pieces[0][name]
            for name, port in self._out_ports.items()
        }

    def _piece(self, port: _Port, array: Array, start: int) -> Array:
        """Cut one batch for the file; a short last one is filled up with its last sample, whose answers are dropped."""
        if not port.free_batch or len(array) == self._batch:
            return array
        part = array[start : start + self._batch]
        missing = self._batch - len(part)
        if missing:
            filler = part[-1:] if len(part) else np.zeros((1, *array.shape[1:]), array.dtype)
            part = np.concatenate([part, np.repeat(filler, missing, axis=0)])
        return part

    def memory(self) -> MemoryUse:
        """Return the memory need: inputs and outputs, and the runtime's copy of the weights.

        A plain interpreter keeps the weights of all its signatures, so all of them count as base; with one file a
        level, or with weights mapped from a cache, only those of the level that runs do.
        """
        ports = [*self._in_ports.values(), *self._out_ports.values()]
        ends = sum(math.prod(port.file_shape) * np.dtype(port.file_dtype).itemsize for port in ports)
        if self._kind == "signatures" and not (self._engine is not None and self._engine.maps_weights):
            return MemoryUse(ends + sum(self._level_bytes), (0,) * self.level_count)
        return MemoryUse(ends, tuple(self._level_bytes))

    def close(self) -> None:
        """Release the runtime and its memory. Closing twice is fine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self._closed = True


def open_variant(folder: Path, variant: Variant, runtime: Runtime, cache: Path | None) -> LitertAdapter:
    """Open a TFLite variant; see `elsa_edge.plugins.AdapterOpener`.

    Raises:
        RuntimeUnavailableError: When neither runtime is installed, or tflite-runtime is next to numpy 2.
        BundleError: When a file is missing, damaged, or without the signatures that the manifest promises.
    """
    return LitertAdapter(folder, variant, runtime, cache)
