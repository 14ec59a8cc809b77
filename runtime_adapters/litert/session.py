"""A loaded TFLite variant: from the canonical graph's names, shapes and types to the file's, level by level, and back.

Callers always speak the canonical graph's language: its names, shapes (N, C, H, W) and types, any batch. What the file
wants instead (channels last, a fixed batch, int8) stands in the variant's instructions and is converted here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle.instructions import Port, TfliteFiles, TfliteSignatures, level_role
from elsa_edge.errors import BundleError
from elsa_edge.plugins import NO_CACHE, CacheState, MemoryUse, check_level
from elsa_edge.plugins.described import Described
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.failures import failure
from elsa_edge.runtime_adapters.litert.engines import Engine, Ports
from elsa_edge.runtime_adapters.litert.model_file import ModelFile
from elsa_edge.runtime_adapters.litert.opening import open_engine
from elsa_edge.tensors import TO_NHWC, TensorSpec, check_inputs

__all__ = ["LitertSession"]

Array = npt.NDArray[Any]


def _specs(ports: Mapping[str, Port]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, port.shape, port.dtype) for name, port in ports.items()}


def _to_file(port: Port, array: Array) -> Array:
    """Canonical -> file: layout and type."""
    if port.layout == "NHWC":
        array = array.transpose(TO_NHWC)
    return np.asarray(array, port.file_dtype, order="C")  # ascontiguousarray would make a scalar 1-D


def _cut(array: Array, axis: int, start: int, stop: int) -> Array:
    """Return the samples from `start` to `stop`, as a view."""
    return array[(slice(None),) * axis + (slice(start, stop),)]


def _joined(port: Port, pieces: Sequence[Mapping[str, Array]], count: int) -> Array:
    """Return an output of all pieces, without what fills up the last one; what carries no batch is alike in all."""
    axis = port.batch_axis
    if axis is None:
        return pieces[0][port.name]
    whole = np.concatenate([piece[port.name] for piece in pieces], axis)
    return np.ascontiguousarray(_cut(whole, axis, 0, count))


class LitertSession(Described):
    """A loaded TFLite variant; see `elsa_edge.plugins.Opened`.

    Args:
        instructions: What the manifest says about the files.
        files: One for all levels, or one per level.
        level_count: Number of levels.
        level_bytes: Weights that each level needs in memory.
        runtime: The profile's runtime section.
        cache: Folder for packed weights, or None.
    """

    def __init__(
        self,
        instructions: TfliteFiles | TfliteSignatures,
        *,
        files: tuple[Path, ...],
        level_count: int,
        level_bytes: tuple[int, ...],
        runtime: Runtime,
        cache: Path | None,
    ) -> None:
        self._in_ports = {port.name: port for port in instructions.inputs}
        self._out_ports = {port.name: port for port in instructions.outputs}
        super().__init__(_specs(self._in_ports), _specs(self._out_ports), level_count)
        self._batch = instructions.batch
        self._stateful = instructions.stateful
        self._in_one_file = isinstance(instructions, TfliteSignatures)
        self._files = files
        self._level_bytes = level_bytes
        self._runtime = runtime
        self._cache_folder = cache
        self._cache = NO_CACHE
        self._engine: Engine | None = None
        self._loaded = -1
        self._closed = False
        self._open(level_count - 1 if self._in_one_file else 0)

    @property
    def cache(self) -> CacheState:
        """Whether the weights of the level that is loaded are mapped from a file packed on this device."""
        return self._cache

    def _open(self, level: int) -> Engine:
        """Return the engine that runs `level`; the engine of another file is closed before this one is opened."""
        if self._closed:
            raise BundleError("This adapter is closed", fix="Open the bundle again")
        place = 0 if self._in_one_file else level
        if self._engine is None or self._loaded != place:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            keys = [level_role(k) for k in range(self.level_count)] if self._in_one_file else [None]
            model = ModelFile(self._files[place], tuple(keys), tuple(self._in_ports), tuple(self._out_ports))
            self._engine, self._cache = open_engine(
                model, self._runtime, self._cache_folder, stateful=self._stateful
            )
            for key in keys:
                self._check_ports(model, *self._engine.ports(key))
            self._loaded = place
        return self._engine

    def _check_ports(self, model: ModelFile, inputs: Ports, outputs: Ports) -> None:
        """Compare what the manifest says of a file with the file: shapes are used to allocate, and a lie costs memory.

        Raises:
            BundleError: Naming the first input or output that differs.
        """
        for promised, found in ((self._in_ports, inputs), (self._out_ports, outputs)):
            for name, port in promised.items():
                shape, dtype = found[name]
                if (shape, dtype) != (port.file_shape, port.file_dtype):
                    raise BundleError(
                        f"{model.path.name} has another {name} than the manifest says",
                        expected=f"{'x'.join(map(str, port.file_shape)) or 'scalar'} {port.file_dtype}",
                        found=f"{'x'.join(map(str, shape)) or 'scalar'} {dtype}",
                        fix="Build the bundle again",
                    )

    def run(self, inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        """Run one inference at `level`, switching first where needed.

        Raises:
            InputError: When an input's name, shape or type is wrong.
            LevelError: When the variant has no such level.
        """
        level = check_level(level, self._level_count)
        ready = check_inputs(self._inputs, inputs)
        engine = self._open(level)
        key = level_role(level) if self._in_one_file else None
        counts = (
            ready[name].shape[port.batch_axis]
            for name, port in self._in_ports.items()
            if port.batch_axis is not None
        )
        count = next(counts, self._batch)
        pieces = []
        for start in range(0, max(count, 1), self._batch):
            feed = {
                name: _to_file(port, self._piece(port, ready[name], start))
                for name, port in self._in_ports.items()
            }
            try:
                found = engine.run(key, feed)
            except (RuntimeError, ValueError, MemoryError) as error:
                raise failure("The TFLite runtime", error) from error
            pieces.append(
                {
                    name: np.asarray(found[name], port.dtype, order="C")
                    for name, port in self._out_ports.items()
                }
            )
        if len(pieces) == 1 and count == self._batch:
            return pieces[0]
        return {name: _joined(port, pieces, count) for name, port in self._out_ports.items()}

    def _piece(self, port: Port, array: Array, start: int) -> Array:
        """Cut one batch for the file; a short last one is filled up with its last sample, whose answers are dropped."""
        axis = port.batch_axis
        if axis is None or array.shape[axis] == self._batch:
            return array
        part = _cut(array, axis, start, start + self._batch)
        present = part.shape[axis]
        if present == self._batch:
            return part
        if not present:
            return np.zeros((*part.shape[:axis], self._batch, *part.shape[axis + 1 :]), array.dtype)
        return np.asarray(np.take(part, np.minimum(np.arange(self._batch), present - 1), axis))

    def memory(self) -> MemoryUse:
        """Return the memory need: inputs and outputs, and the runtime's copy of the weights.

        A plain interpreter keeps the weights of all its signatures, so all of them count as base; with a file per
        level, or with weights mapped from a cache, only those of the level that runs do.
        """
        ports = [*self._in_ports.values(), *self._out_ports.values()]
        ends = sum(math.prod(port.file_shape) * np.dtype(port.file_dtype).itemsize for port in ports)
        if self._in_one_file and not (self._engine is not None and self._engine.maps_weights):
            return MemoryUse(ends + sum(self._level_bytes), (0,) * self.level_count)
        return MemoryUse(ends, tuple(self._level_bytes))

    def close(self) -> None:
        """Release the runtime and its memory. Closing twice is fine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self._closed = True
