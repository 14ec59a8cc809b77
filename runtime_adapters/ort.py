"""ONNX Runtime adapter: a variant as one session with a level input, or as one session a level.

`variant.options["kind"]` says which:

    selector   files {"model"}: the canonical graph, int64 scalar input `level`
    nested     files {"model"}: the same interface, with custom operators (`custom_ops`: true)
    switch     files {"model"}: the same interface, an If cascade; optimised once into a mapped cache (ort_cache.py)
    levels     files {"level_0", "level_1", ...}: a network a level; one session resident, switching opens another
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from device_profiles.schema import Runtime
from elsa_edge.bundle.manifest import FILE_NAME, Variant
from elsa_edge.bundle.reader import read_manifest
from elsa_edge.errors import BundleError, ElsaError, InputError, RuntimeUnavailableError
from elsa_edge.files import sha256_of
from elsa_edge.levels import Ladder
from elsa_edge.tensors import TensorSpec, check_inputs
from runtime_adapters.ort_cache import CachedModel, cached_model
from runtime_adapters.protocol import MemoryUse, RuntimeAdapter, check_level

__all__ = ["LevelInputAdapter", "LevelSessionsAdapter", "open_variant"]

Array = npt.NDArray[Any]
Session = Any  # onnxruntime ships no types

_LEVEL_INPUT: Final = "level"
_LADDER_KEY: Final = "elsa_edge.ladder"
_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"ONNX Runtime cannot be loaded ({error})", fix="Install it: pip install onnxruntime"
        ) from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


@dataclass(frozen=True, slots=True)
class _Settings:
    """How sessions are opened: the profile's runtime section in ONNX Runtime's words."""

    runtime: Runtime
    custom_ops: tuple[str, ...]

    @property
    def level(self) -> Any:
        levels = _runtime().GraphOptimizationLevel
        return {
            "all": levels.ORT_ENABLE_ALL,
            "extended": levels.ORT_ENABLE_EXTENDED,
            "basic": levels.ORT_ENABLE_BASIC,
            "none": levels.ORT_DISABLE_ALL,
        }[self.runtime.optimization]

    def for_optimiser(self) -> dict[str, Any]:
        """Return what decides the content of an optimised file."""
        return {
            "level": int(self.level.value),
            "prepack": self.runtime.prepack,
            "config": dict(self.runtime.options),
            "custom_ops": list(self.custom_ops),
        }

    def open(self, path: Path, *, optimised: bool = False) -> Session:
        """Open a session.

        Raises:
            BundleError: When ONNX Runtime refuses the model.
        """
        ort = _runtime()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # what matters arrives as an exception
        options.intra_op_num_threads = self.runtime.threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = self.runtime.arena
        options.graph_optimization_level = (
            ort.GraphOptimizationLevel.ORT_DISABLE_ALL if optimised else self.level
        )
        config = {
            "session.intra_op.allow_spinning": str(int(self.runtime.spin)),
            "session.disable_prepacking": str(int(not self.runtime.prepack)),
        }
        try:
            for key, value in (config | dict(self.runtime.options)).items():
                options.add_session_config_entry(key, value)
            for library in self.custom_ops:
                options.register_custom_ops_library(library)
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            _give_memory_back()  # what folding needed: for a moment a multiple of the network
            return session
        except Exception as error:
            raise BundleError(
                f"ONNX Runtime {ort.__version__} cannot open {path.name} ({_first_line(error)})",
                fix="Build the bundle again, or update onnxruntime",
            ) from error


def _specs(entries: list[Any]) -> dict[str, TensorSpec]:
    """Describe a session's inputs or outputs, without the level."""
    specs = {}
    for entry in entries:
        if entry.name == _LEVEL_INPUT:
            continue
        if entry.type not in _DTYPES:
            raise BundleError(
                f"{entry.name} has a type that is not supported",
                expected=", ".join(_DTYPES),
                found=entry.type,
            )
        shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in entry.shape)
        specs[entry.name] = TensorSpec(entry.name, shape, _DTYPES[entry.type])
    return specs


class _Gate:
    """Lets inputs in that fit the network; others get `check_inputs` and its explanation.

    Shapes that fitted once are remembered. After a network has filled the caches with weights, Python runs five times
    slower than in a loop of its own, so every step saved here counts: checking anew each time cost 8 % on an MLP.
    """

    _MOST_SHAPES: Final = 64

    def __init__(self, specs: Mapping[str, TensorSpec]) -> None:
        self._specs = specs
        self._known: list[tuple[str, Any, set[tuple[int, ...]]]] = [
            (name, np.dtype(spec.dtype), set()) for name, spec in specs.items()
        ]

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the inputs as arrays of the right type; raises InputError."""
        if len(inputs) == len(self._known):
            for name, dtype, shapes in self._known:
                array = inputs.get(name)
                # numpy has one object for each native type; other spellings take the long way
                if type(array) is not np.ndarray or array.dtype is not dtype or array.shape not in shapes:
                    break
            else:
                return dict(inputs)
        checked = check_inputs(self._specs, inputs)
        for name, _, shapes in self._known:
            if len(shapes) < self._MOST_SHAPES:
                shapes.add(checked[name].shape)
        return checked


def _caller(session: Session) -> Callable[..., list[Array]]:
    """Return what runs a session: the wrapped object's method where there is one.

    The wrapper checks names again, which `_Gate` has done; on an MLP of half a millisecond that costs 2 %.
    """
    inner = getattr(getattr(session, "_sess", None), "run", None)
    run: Callable[..., list[Array]] = inner if callable(inner) else session.run
    return run


def _run(call: Callable[..., list[Array]], names: list[str], feed: dict[str, Array]) -> dict[str, Array]:
    try:
        answers = call(names, feed, None)
    except Exception as error:
        raise InputError(
            f"ONNX Runtime could not run the network on these inputs ({_first_line(error)})"
        ) from error
    return dict(zip(names, answers, strict=False))  # one answer for each name is asked for


def _give_memory_back() -> None:
    """Return freed memory to the system, which glibc otherwise keeps for this process."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return  # not glibc


class LevelInputAdapter:
    """One session in which every level lives; `level` is an input of the graph.

    Attributes:
        cache_state: "used", "built" or "off: " and why, for people.
    """

    def __init__(self, session: Session, level_count: int, memory: MemoryUse, cache_state: str) -> None:
        self.cache_state = cache_state
        self._session: Session | None = session
        self._call: Callable[..., list[Array]] | None = _caller(session)
        self._count = level_count
        self._memory = memory
        self._inputs = _specs(session.get_inputs())
        self._outputs = _specs(session.get_outputs())
        self._names = list(self._outputs)
        self._gate = _Gate(self._inputs)
        self._levels = [np.array(level, np.int64) for level in range(level_count)]

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name, without the level."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""
        return self._outputs

    @property
    def level_count(self) -> int:
        """How many levels the variant has."""
        return self._count

    def run(self, inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        """Run one inference at `level`; see `RuntimeAdapter.run`."""
        k = level if type(level) is int and 0 <= level < self._count else check_level(level, self._count)
        feed = self._gate(inputs)
        if self._call is None:
            raise ElsaError("The network is closed", fix="Open it again")
        feed[_LEVEL_INPUT] = self._levels[k]
        return _run(self._call, self._names, feed)

    def memory(self) -> MemoryUse:
        """Return the memory need, base and per level."""
        return self._memory

    def close(self) -> None:
        """Release the session and its memory."""
        self._session = self._call = None
        _give_memory_back()


class LevelSessionsAdapter:
    """A network a level, of which one is loaded: the least memory. Switching closes one before opening the next."""

    def __init__(
        self, models: list[Path], open_session: Callable[[Path], Session], memory: MemoryUse
    ) -> None:
        self._models = models
        self._open = open_session
        self._memory = memory
        self._session: Session | None = None
        self._resident: int | None = None
        self._closed = False
        self._inputs: dict[str, TensorSpec] | None = None
        self._outputs: dict[str, TensorSpec] = {}
        self._names: list[str] = []
        self._gate: _Gate | None = None

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name; before the first run this loads the sparsest level to ask it."""
        return self._specs()[0]

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""
        return self._specs()[1]

    @property
    def level_count(self) -> int:
        """How many levels the variant has."""
        return len(self._models)

    @property
    def resident_level(self) -> int | None:
        """The level whose session is loaded, if any."""
        return self._resident

    def run(self, inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        """Run one inference at `level`, loading it first where needed; see `RuntimeAdapter.run`."""
        k = check_level(level, len(self._models))
        feed = None if self._gate is None else self._gate(inputs)  # wrong inputs must not cost a switch
        session = self._at(k)
        if feed is None:
            feed = check_inputs(self._specs()[0], inputs)
        return _run(_caller(session), self._names, feed)

    def memory(self) -> MemoryUse:
        """Return the memory need, base and per level."""
        return self._memory

    def close(self) -> None:
        """Release the session and its memory."""
        self._closed = True
        self._drop()

    def _specs(self) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
        if self._inputs is None:
            session = self._session if self._session is not None else self._at(0)
            self._inputs, self._outputs = _specs(session.get_inputs()), _specs(session.get_outputs())
            self._names = list(self._outputs)
            self._gate = _Gate(self._inputs)
        return self._inputs, self._outputs

    def _at(self, level: int) -> Session:
        if self._closed:
            raise ElsaError("The network is closed", fix="Open it again")
        if self._resident != level:
            self._drop()
            self._session = self._open(self._models[level])
            self._resident = level
        return self._session

    def _drop(self) -> None:
        if self._session is not None:
            self._session = None
            self._resident = None
            _give_memory_back()


def open_variant(folder: Path, variant: Variant, runtime: Runtime, cache: Path | None) -> RuntimeAdapter:
    """Open a variant for ONNX Runtime; see `runtime_adapters.protocol.AdapterOpener`.

    Raises:
        BundleError: When a file or option is missing, or ONNX Runtime refuses the model.
        RuntimeUnavailableError: When ONNX Runtime is not installed.
    """
    settings = _Settings(runtime, _custom_ops(variant))
    kind = variant.options.get("kind")
    if kind == "levels":
        return _open_levels(folder, variant, settings)
    if kind not in ("selector", "nested", "switch"):
        raise BundleError(
            f"The variant {variant.name} is of an unknown kind",
            expected="selector, switch, levels or nested",
            found=repr(kind),
            fix="Update elsa-edge",
        )
    model = _file(folder, variant, "model")
    cached = CachedModel(None, "off: not wanted")
    if kind == "switch" and runtime.memory_map:
        digest = _hash_of(folder, variant.files["model"])
        limit_bytes = runtime.cache_mb * 1_000_000
        cached = cached_model(model, digest, cache, limit_bytes, settings.for_optimiser())
    session, cached = _open_cached(settings, model, cached)
    count = _level_count(variant, session)
    return LevelInputAdapter(session, count, _memory(variant, model, cached, count), cached.state)


def _open_cached(settings: _Settings, model: Path, cached: CachedModel) -> tuple[Session, CachedModel]:
    if cached.path is not None:
        try:
            return settings.open(cached.path, optimised=True), cached
        except BundleError as error:
            cached = CachedModel(None, f"off: {error}")
    return settings.open(model), cached


def _open_levels(folder: Path, variant: Variant, settings: _Settings) -> LevelSessionsAdapter:
    count = sum(role.startswith("level_") for role in variant.files)
    if count == 0:
        raise BundleError(f"The variant {variant.name} has no levels", expected="files level_0, level_1, ...")
    models = [_file(folder, variant, f"level_{level}") for level in range(count)]
    _runtime()  # an absent runtime must show when opening, not at the first run
    sizes = variant.level_bytes or tuple(path.stat().st_size for path in models)
    return LevelSessionsAdapter(models, settings.open, MemoryUse(0, sizes))


def _file(folder: Path, variant: Variant, role: str) -> Path:
    if role not in variant.files:
        raise BundleError(
            f"The variant {variant.name} has no file for {role!r}",
            found=", ".join(sorted(variant.files)) or "none",
        )
    path = folder / variant.files[role]
    if not path.is_file():
        raise BundleError(f"{variant.files[role]} is missing from the bundle")
    return path


def _custom_ops(variant: Variant) -> tuple[str, ...]:
    """Return the library of our operators when the variant needs it."""
    if not variant.options.get("custom_ops"):
        return ()
    from runtime_adapters.kernels import library_path

    path = library_path()
    if path is None:
        raise RuntimeUnavailableError(
            f"The variant {variant.name} needs our kernels, which were not compiled on this machine",
            fix="Run: python -m runtime_adapters.kernels.build",
        )
    return (str(path),)


def _hash_of(folder: Path, relative: str) -> str:
    """Return a file's SHA-256: from the manifest, or computed while a bundle is still being written."""
    if (folder / FILE_NAME).is_file():
        for entry in read_manifest(folder).files:
            if entry.path == relative:
                return entry.sha256
    return sha256_of(folder / relative)


def _level_count(variant: Variant, session: Session) -> int:
    told = variant.options.get("level_count")
    if isinstance(told, int) and told >= 1:
        return told
    if variant.level_bytes:
        return len(variant.level_bytes)
    metadata = session.get_modelmeta().custom_metadata_map
    if _LADDER_KEY in metadata:
        return len(Ladder.from_json(metadata[_LADDER_KEY]))
    raise BundleError(
        f"The variant {variant.name} does not say how many levels it has", expected="options.level_count"
    )


def _memory(variant: Variant, model: Path, cached: CachedModel, level_count: int) -> MemoryUse:
    """Cached: the mapped weights of the active level. Not cached: everything is resident at every level."""
    if cached.path is None:
        kept = sum(variant.level_bytes) if variant.options.get("kind") == "switch" else 0
        return MemoryUse(model.stat().st_size + kept, (0,) * level_count)
    data = sum(path.stat().st_size for path in cached.path.parent.iterdir())
    if len(variant.level_bytes) == level_count:
        return MemoryUse(cached.path.stat().st_size, variant.level_bytes)
    return MemoryUse(cached.path.stat().st_size, (data // level_count,) * level_count)
