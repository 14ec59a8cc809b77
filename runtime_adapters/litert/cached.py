"""Packed weights in a file: XNNPACK packs once on the device, later starts map the file and share it between levels.

    CACHE/litert-KEY/{weights.xnnpack, stamp.json}       KEY = hash(model file, runtime version, CPU)

The plain interpreter packs the weights of all signatures into anonymous memory when the file is opened; here they stay
file-backed. MobileNetV2 with four levels, ai-edge-litert 2.3.0: 69 MB anonymous without, 19 MB with the file, at the
same speed. A packed file is found by place, not by content, so the key holds the model's hash, and a CRC-32 proves that
the file is whole. Whatever fails here, the interpreter runs without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ElsaError
from elsa_edge.files import sha256_of
from elsa_edge.plugins import CacheState
from elsa_edge.runtime_adapters.derived import derived
from elsa_edge.runtime_adapters.litert.engines import Ports, ports_of
from elsa_edge.runtime_adapters.litert.model_file import ModelFile, not_loadable
from elsa_edge.runtime_adapters.litert.trial import try_file

__all__ = ["CachedEngine", "open_cached"]

Array = npt.NDArray[Any]
_PACKED: Final = "weights.xnnpack"
# What the compiled model's buffers take. int64 is not among them, although the file may have it.
_TYPES: Final = frozenset({"float32", "int32", "int8", "bool"})
# The packer of ai-edge-litert 2.3 aborts its process, a child of ours, when the disk is full: leave room for others.
_ROOM_FACTOR: Final = 4


def _scratch() -> IO[bytes]:
    """Return a file that vanishes, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("notes"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


# How the runtime begins what it tells about itself: "INFO: [accelerator_registry.cc:43] ...".
_NOTE: Final = re.compile(
    rb"(?:VERBOSE|DEBUG|INFO|WARNING|ERROR): \[[^\]]+\.(?:cc|h|cpp):\d+\]|INFO: Created TensorFlow"
)


@contextlib.contextmanager
def _without_notes() -> Iterator[None]:
    """Keep the runtime's notes about accelerators that we do not ask for off stderr; it has no switch for them.

    stderr is one for all threads: what others write meanwhile is kept and written when this ends.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with _scratch() as collected:
            os.dup2(collected.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
                collected.seek(0)
                for line in collected.read().splitlines(keepends=True):
                    if not _NOTE.match(line):
                        os.write(2, line)
    finally:
        os.close(kept)


class CachedEngine:
    """ai-edge-litert's compiled model with its weights packed in a file."""

    maps_weights: Final = True

    def __init__(self, file: ModelFile, threads: int, packed: Path) -> None:
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.environment import Environment
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import CpuOptions, Options

        cpu = CpuOptions(num_threads=threads, xnnpack_weight_cache_path=str(packed))
        options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)
        elsewhere = str(packed.parent)  # no accelerator lies there: the CPU is all that is wanted
        try:
            with _without_notes():
                environment = Environment.create(
                    runtime_path=elsewhere, compiler_plugin_path=elsewhere, dispatch_library_path=elsewhere
                )
                self._model: Any = CompiledModel.from_file(
                    str(file.path), environment=environment, options=options
                )
                del environment
        except (RuntimeError, ValueError) as error:
            raise not_loadable("ai-edge-litert", file, error) from error
        signatures = self._model.get_signature_list()
        self._signatures = file.resolve(signatures)
        self._names = {key: signatures[name] for key, name in self._signatures.items()}
        self._buffers: dict[str | None, tuple[int, list[Any], list[Any]]] = {}
        self._shapes: dict[str | None, list[tuple[tuple[int, ...], np.dtype[Any]]]] = {}

        with _without_notes():
            self._first_write()

    def _first_write(self) -> None:
        """Write once into an input: that makes a second environment, whose notes nobody may have to hide later.

        Hiding them during an inference would hide what other threads say meanwhile.
        """
        key, name = next(iter(self._signatures.items()))
        self._prepare(key)
        details = self._model.get_input_tensor_details(name)[self._names[key]["inputs"][0]]
        self._buffers[key][1][0].write(np.zeros(tuple(details["shape"]), details["dtype"]))

    def _prepare(self, signature: str | None) -> None:
        name = self._signatures[signature]
        index = self._model.get_signature_index(name)
        details = self._model.get_output_tensor_details(name)
        self._buffers[signature] = (
            index,
            self._model.create_input_buffers(index),
            self._model.create_output_buffers(index),
        )
        self._shapes[signature] = [
            (tuple(int(size) for size in details[output]["shape"]), np.dtype(details[output]["dtype"]))
            for output in self._names[signature]["outputs"]
        ]

    def ports(self, signature: str | None) -> tuple[Ports, Ports]:
        """Return what the file itself says of a signature's inputs and outputs."""
        name = self._signatures[signature]
        return (
            ports_of(self._model.get_input_tensor_details(name)),
            ports_of(self._model.get_output_tensor_details(name)),
        )

    def run(self, signature: str | None, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a signature."""
        if signature not in self._buffers:
            self._prepare(signature)
        index, inputs, outputs = self._buffers[signature]
        names = self._names[signature]
        for name, buffer in zip(names["inputs"], inputs, strict=True):
            buffer.write(feed[name])
        self._model.run_by_index(index, inputs, outputs)
        return {
            name: buffer.read(int(np.prod(shape)), dtype).reshape(shape)
            for name, buffer, (shape, dtype) in zip(
                names["outputs"], outputs, self._shapes[signature], strict=True
            )
        }

    def close(self) -> None:
        """Release the model and its buffers."""
        with _without_notes():
            self._buffers = {}
            self._model = None


def open_cached(
    file: ModelFile, threads: int, cache: Path, limit_bytes: int
) -> tuple[CachedEngine | None, CacheState]:
    """Open a file with packed weights from the cache, packing them first where needed; None when that is not possible.

    Raises:
        BundleError: When the model itself is damaged or has not the promised signatures.
    """

    def pack(folder: Path) -> None:
        if shutil.disk_usage(folder).free < _ROOM_FACTOR * file.path.stat().st_size:
            raise ElsaError(f"{folder.parent} has too little room")
        packed = folder / _PACKED
        types = try_file(file, "ai-edge-litert", threads, packed=packed)
        if not types <= _TYPES or not packed.is_file():
            raise ElsaError("the runtime packs no weights of this network into a file")

    facts = (sha256_of(file.path), version("ai-edge-litert"))
    found = derived(cache, "litert", facts, pack, limit_bytes=limit_bytes)
    if found.folder is None:
        return None, found.state
    return CachedEngine(file, threads, found.folder / _PACKED), found.state
