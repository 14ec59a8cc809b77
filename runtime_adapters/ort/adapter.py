"""ONNX Runtime adapter: open a variant as one session with a level input, or as one session per level.

`variant.options["kind"]` says which:

    selector   files {"model"}: the canonical graph, int64 scalar input `level`
    nested     files {"model", "data"}: the same interface, with custom operators (`custom_ops`: true); further files
               are other choices of kernels over the same data, opened when the profile's `runtime.choice` names one
    switch     files {"model"}: the same interface, an If cascade; optimised once into a mapped cache (cache.py)
    levels     files {"level_0", "level_1", ...}: one network per level; one session resident, switching opens another
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elsa_edge.bundle.manifest import FILE_NAME, Variant
from elsa_edge.bundle.reader import read_manifest
from elsa_edge.errors import BundleError, RuntimeUnavailableError, first_line
from elsa_edge.files import sha256_of
from elsa_edge.levels import Ladder
from elsa_edge.plugins import MemoryUse, RuntimeAdapter
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.mapped_pages import release_clean_pages
from elsa_edge.runtime_adapters.ort.cache import CachedModel, cached_model
from elsa_edge.runtime_adapters.ort.sessions import (
    LevelInputAdapter,
    LevelSessionsAdapter,
    give_memory_back,
)

__all__ = ["LevelInputAdapter", "LevelSessionsAdapter", "open_variant"]

Session = Any  # onnxruntime ships no types

_LADDER_KEY: Final = "elsa_edge.ladder"


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"ONNX Runtime cannot be loaded ({error})", fix="Install it: pip install onnxruntime"
        ) from error
    return onnxruntime


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
            give_memory_back()  # what folding needed: for a moment a multiple of the network
            return session
        except Exception as error:
            raise BundleError(
                f"ONNX Runtime {ort.__version__} cannot open {path.name} ({first_line(error)})",
                fix="Build the bundle again, or update onnxruntime",
            ) from error


def open_variant(folder: Path, variant: Variant, runtime: Runtime, cache: Path | None) -> RuntimeAdapter:
    """Open a variant for ONNX Runtime; see `elsa_edge.plugins.AdapterOpener`.

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
    nested = kind == "nested" and runtime.choice in variant.files and runtime.choice != "data"
    model = _file(folder, variant, runtime.choice if nested else "model")
    cached = CachedModel(None, "off: not wanted")
    if kind == "switch" and runtime.memory_map:
        digest = _hash_of(folder, variant.files["model"])
        limit_bytes = runtime.cache_mb * 1_000_000
        cached = cached_model(model, digest, cache, limit_bytes, settings.for_optimiser())
    session, cached = _open_cached(settings, model, cached)
    if kind == "nested" and "data" in variant.files:
        release_clean_pages(folder / variant.files["data"])  # opening has read weights of all levels
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
    from elsa_edge.nested_format.library import library_path

    path = library_path()
    if path is None:
        raise RuntimeUnavailableError(
            f"The variant {variant.name} needs our kernels, which were not compiled on this machine",
            fix="Run: python -m elsa_edge.runtime_adapters.kernels.build",
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
    """Cached: the mapped weights of the active level. Not cached: everything is resident at every level.

    Nested: ONNX Runtime keeps the weights of dense levels at every level, in its own layout; segments are mapped.
    """
    nested = variant.options.get("nested_layers")
    if nested is not None and len(nested) == len(variant.level_bytes) == level_count:
        dense = sum(size for size, layers in zip(variant.level_bytes, nested, strict=True) if not layers)
        mapped = [size if layers else 0 for size, layers in zip(variant.level_bytes, nested, strict=True)]
        return MemoryUse(model.stat().st_size + dense, tuple(mapped))
    if cached.path is None:
        kept = sum(variant.level_bytes) if variant.options.get("kind") == "switch" else 0
        return MemoryUse(model.stat().st_size + kept, (0,) * level_count)
    data = sum(path.stat().st_size for path in cached.path.parent.iterdir())
    if len(variant.level_bytes) == level_count:
        return MemoryUse(cached.path.stat().st_size, variant.level_bytes)
    return MemoryUse(cached.path.stat().st_size, (data // level_count,) * level_count)
