"""Open a TFLite file: with its weights packed in a file where that is possible, else with the plain interpreter."""

from __future__ import annotations

from pathlib import Path

from elsa_edge.plugins import NO_CACHE, CacheState, CacheUse
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.litert.cached import open_cached
from elsa_edge.runtime_adapters.litert.engines import Engine, InterpreterEngine, choose_package
from elsa_edge.runtime_adapters.litert.model_file import ModelFile
from elsa_edge.runtime_adapters.litert.trial import require_tried

__all__ = ["open_engine"]


def open_engine(
    file: ModelFile, runtime: Runtime, cache: Path | None, *, stateful: bool = False
) -> tuple[Engine, CacheState]:
    """Open a file; also return what became of the cache.

    Args:
        file: The model.
        runtime: Which package, threads, and whether weights are mapped from a cache (`memory_map`, `cache_mb`).
        cache: Folder for packed weights, or None.
        stateful: Whether it keeps state from run to run; every run must then begin at zero.

    Raises:
        RuntimeUnavailableError: When no package can be used.
        BundleError: When the file is damaged or has not what was promised.
    """
    package = choose_package(runtime)
    state = NO_CACHE
    if cache is not None and runtime.memory_map and runtime.cache_mb:
        if package != "ai-edge-litert":
            state = CacheState(CacheUse.OFF, f"{package} cannot pack weights into a file")
        elif stateful:
            state = CacheState(CacheUse.OFF, "the state of a recurrent network can only be reset without it")
        else:
            engine, state = open_cached(file, runtime.threads, cache, runtime.cache_mb * 1_000_000)
            if engine is not None:
                return engine, state
    require_tried(file, package, runtime.threads, cache, stateful=stateful)
    return InterpreterEngine(package, file, runtime.threads, stateful=stateful), state
