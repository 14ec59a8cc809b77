"""ONNX Runtime adapter: open a variant as one session with a level input, or as one session per level.

    Selector   the canonical graph
    Nested     the same interface, with our custom operators; of its choices of kernels the profile's is opened
    Switch     the same interface, an If cascade; optimised once into a mapped cache (cache.py)
    Levels     one network per level; one session resident, switching opens another

Which of them, the variant's instructions say. Beside a file with all levels may lie plain networks of some levels, for
which choosing a level would take too long; they are sessions of their own, open all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from elsa_edge.bundle.instructions import Levels, Nested, Selector, Switch, plain_role
from elsa_edge.bundle.manifest import FILE_NAME, Variant
from elsa_edge.bundle.reader import read_manifest
from elsa_edge.errors import BundleError, LevelError, RuntimeUnavailableError, first_line
from elsa_edge.files import sha256_of
from elsa_edge.levels import Ladder
from elsa_edge.nested_format.library import library_path
from elsa_edge.plugins import NO_CACHE, CacheState, MemoryUse, Opened, OperatorTime
from elsa_edge.profiles.schema import Runtime
from elsa_edge.running.onnx_session import SessionSettings, Settings, onnx_runtime, open_session, options_for
from elsa_edge.runtime_adapters.derived import Derived, not_derived
from elsa_edge.runtime_adapters.mapped_pages import release_clean_pages
from elsa_edge.runtime_adapters.ort.cache import MODEL_NAME, optimised_model
from elsa_edge.runtime_adapters.ort.header import inputs_and_outputs
from elsa_edge.runtime_adapters.ort.operator_times import PREFIX, read_operator_times
from elsa_edge.runtime_adapters.ort.sessions import (
    LevelInputSession,
    SessionPerLevel,
    give_memory_back,
    specs_of,
)

__all__ = ["OnnxRuntimeAdapter"]

Session = Any  # onnxruntime ships no types

_LADDER_KEY: Final = "elsa_edge.ladder"
_KERNELS: Final = "python -m elsa_edge.runtime_adapters.kernels.build"


def _open(
    path: Path,
    settings: SessionSettings,
    libraries: Sequence[Path] = (),
    profile_prefix: Path | None = None,
) -> Session:
    """Open a session.

    Raises:
        BundleError: When ONNX Runtime refuses the model or a setting.
        RuntimeUnavailableError: When ONNX Runtime is not installed.
    """
    version = onnx_runtime().__version__
    try:
        options = options_for(settings, libraries=libraries, profile_prefix=profile_prefix)
        session = open_session(path, options)
    except Exception as error:
        raise BundleError(
            f"ONNX Runtime {version} cannot open {path.name} ({first_line(error)})",
            fix="Build the bundle again, or update onnxruntime",
        ) from error
    # What folding needed: for a moment a multiple of the network.
    give_memory_back()
    return session


@dataclass(frozen=True, slots=True)
class _Request:
    """A variant of a bundle and how it is wanted; see `elsa_edge.plugins.Adapter.open`, for `into` `OperatorTimer`."""

    folder: Path
    variant: Variant
    level_count: int
    runtime: Runtime
    cache: Path | None
    into: Path | None = None

    def session(
        self, path: Path, libraries: Sequence[Path] = (), settings: SessionSettings | None = None
    ) -> Session:
        """Open a file as wanted; raises as `_open` does."""
        prefix = None if self.into is None else self.into / PREFIX
        return _open(path, settings or self.runtime, libraries, prefix)

    def file(self, role: str) -> Path:
        """Return the file of a role.

        Raises:
            BundleError: When there is none.
        """
        if role not in self.variant.files:
            raise BundleError(
                f"The variant {self.variant.name} has no file for {role!r}",
                found=", ".join(sorted(self.variant.files)) or "none",
            )
        path = self.folder / self.variant.files[role]
        if not path.is_file():
            raise BundleError(f"{self.variant.files[role]} is missing from the bundle")
        return path


class OnnxRuntimeAdapter:
    """Opens variants with ONNX Runtime; see `elsa_edge.plugins.Adapter`."""

    def missing(self, variant: Variant) -> str | None:
        """Return what is missing: the runtime, our kernels, or a newer elsa-edge for a kind it does not know."""
        if find_spec("onnxruntime") is None:
            return "onnxruntime is not installed"
        if type(variant.instructions) not in _OPENERS:
            return f"the ONNX Runtime adapter does not know the kind {variant.instructions.kind}"
        if isinstance(variant.instructions, Nested) and library_path() is None:
            return f"our kernels were not compiled on this machine ({_KERNELS})"
        return None

    def choices(self, variant: Variant) -> tuple[str, ...]:
        """Return the choices of kernels that a nested variant has."""
        return variant.instructions.choices if isinstance(variant.instructions, Nested) else ()

    def open(
        self, folder: Path, variant: Variant, *, level_count: int, runtime: Runtime, cache: Path | None
    ) -> Opened:
        """Open a variant; see `elsa_edge.plugins.Adapter.open`."""
        return self._opened(_Request(folder, variant, level_count, runtime, cache))

    def open_timed(
        self,
        folder: Path,
        variant: Variant,
        *,
        level_count: int,
        runtime: Runtime,
        cache: Path | None,
        into: Path,
    ) -> Opened:
        """Open a variant with ONNX Runtime's profiler on; see `elsa_edge.plugins.OperatorTimer`."""
        return self._opened(_Request(folder, variant, level_count, runtime, cache, into))

    def operator_times(self, into: Path) -> list[list[OperatorTime]]:
        """Return what the profiler noted; see `elsa_edge.plugins.OperatorTimer`."""
        return read_operator_times(into)

    @staticmethod
    def _opened(request: _Request) -> Opened:
        variant = request.variant
        opener = _OPENERS.get(type(variant.instructions))
        if opener is None:
            raise BundleError(
                f"The ONNX Runtime adapter cannot open the variant {variant.name}",
                expected="instructions of the kind " + ", ".join(_OPENABLE),
                found=variant.instructions.kind,
            )
        return opener(request)


def _open_selector(request: _Request) -> Opened:
    model = request.file("model")
    session = request.session(model)
    memory = MemoryUse(model.stat().st_size, (0,) * request.level_count)  # all is resident at every level
    return _with_level_input(session, request, memory, plain=_plain_levels(request))


def _open_nested(request: _Request) -> Opened:
    """Open a choice of kernels, forgetting the pages that opening has read: weights of all levels."""
    instructions, sizes = request.variant.instructions, request.variant.level_bytes
    assert isinstance(instructions, Nested)
    chosen = request.runtime.choice
    model = request.file(chosen if chosen in instructions.choices else instructions.choices[0])
    data = request.file("data")
    library = library_path()
    if library is None:
        raise RuntimeUnavailableError(
            f"The variant {request.variant.name} needs our kernels, which were not compiled on this machine",
            fix=f"Run: {_KERNELS}",
        )
    session, plain = request.session(model, (library,)), _plain_levels(request)
    release_clean_pages(data)
    memory = MemoryUse(model.stat().st_size, (0,) * request.level_count)
    if len(instructions.nested_layers) == len(sizes) == request.level_count:
        # ONNX Runtime keeps the weights of dense levels at every level, in its own layout; segments are mapped.
        mapped = tuple(
            size if layers else 0 for size, layers in zip(sizes, instructions.nested_layers, strict=True)
        )
        memory = MemoryUse(model.stat().st_size + sum(sizes) - sum(mapped), mapped)
    return _with_level_input(session, request, memory, plain=plain)


def _plain_levels(request: _Request) -> dict[int, Session]:
    """Open the plain networks of levels that a variant has beside its file with all levels."""
    roles = {level: plain_role(level) for level in range(request.level_count)}
    return {
        level: request.session(request.file(role))
        for level, role in roles.items()
        if role in request.variant.files
    }


def _open_switch(request: _Request) -> Opened:
    """Open the cascade, from its optimised and mapped form where there is one; whatever fails there, without."""
    model, runtime, count = request.file("model"), request.runtime, request.level_count
    found, sizes = Derived(None, NO_CACHE), request.variant.level_bytes
    if runtime.memory_map:
        digest = _hash_of(request.folder, request.variant)
        settings = Settings(
            prepack=runtime.prepack, optimization=runtime.optimization, options=dict(runtime.options)
        )
        found = optimised_model(model, digest, request.cache, runtime.cache_mb * 1_000_000, settings)
    folder = found.folder
    if folder is not None:
        optimised = folder / MODEL_NAME
        try:
            as_it_is = runtime.model_copy(update={"optimization": "none"})
            session = request.session(optimised, settings=as_it_is)
        except BundleError as error:
            found = not_derived(error.problem)
        else:
            data_bytes = sum(path.stat().st_size for path in folder.iterdir())
            level_bytes = sizes if len(sizes) == count else (data_bytes // count,) * count
            # The mapped weights of the active level.
            memory = MemoryUse(optimised.stat().st_size, level_bytes)
            return _with_level_input(session, request, memory, found.state)
    memory = MemoryUse(model.stat().st_size + sum(sizes), (0,) * count)
    return _with_level_input(request.session(model), request, memory, found.state)


def _open_levels(request: _Request) -> Opened:
    instructions = request.variant.instructions
    models = [request.file(role) for role in instructions.roles(request.level_count)]
    onnx_runtime()  # an absent runtime must show when opening, not at the first run
    sizes = request.variant.level_bytes or tuple(path.stat().st_size for path in models)
    try:
        inputs, outputs = inputs_and_outputs(models[0])
    except ValueError:  # of another tool, or damaged: the runtime can say more about it
        session = request.session(models[0])
        inputs, outputs = specs_of(session.get_inputs()), specs_of(session.get_outputs())
        del session
        give_memory_back()
    return SessionPerLevel(models, request.session, MemoryUse(0, sizes), inputs, outputs)


_OPENERS: Final[dict[type, Callable[[_Request], Opened]]] = {
    Selector: _open_selector,
    Switch: _open_switch,
    Levels: _open_levels,
    Nested: _open_nested,
}
_OPENABLE: Final = ("selector", "switch", "levels", "nested")


def _with_level_input(
    session: Session,
    request: _Request,
    memory: MemoryUse,
    cache: CacheState = NO_CACHE,
    plain: Mapping[int, Session] | None = None,
) -> LevelInputSession:
    """Return an opened session, with the plain networks of some levels.

    Raises:
        BundleError: When the model says of itself that it has other levels.
    """
    told = session.get_modelmeta().custom_metadata_map.get(_LADDER_KEY)
    if told is not None:
        try:
            count = len(Ladder.from_json(told))
        except LevelError as error:
            raise BundleError(f"The variant {request.variant.name} has a damaged ladder ({error})") from error
        if count != request.level_count:
            raise BundleError(
                f"The variant {request.variant.name} has another number of levels than the bundle",
                expected=request.level_count,
                found=count,
            )
    plain = plain or {}
    memory = MemoryUse(memory.base_bytes + _bytes_of_plain(request, plain), memory.level_bytes)
    return LevelInputSession(session, request.level_count, memory, cache, plain)


def _bytes_of_plain(request: _Request, levels: Collection[int]) -> int:
    """Return what plain networks add: their files, and weights that these read from the variant's data."""
    files = sum(request.file(plain_role(level)).stat().st_size for level in levels)
    sizes = request.variant.level_bytes
    return files + (sum(sizes[level] for level in levels) if len(sizes) == request.level_count else 0)


def _hash_of(folder: Path, variant: Variant) -> str:
    """Return what tells a variant's files from others: from the manifest, or computed while a bundle is being written.

    A graph alone does not say which numbers it computes with where these lie in a file beside it.
    """
    listed: dict[str, str] = {}
    if (folder / FILE_NAME).is_file():
        listed = {entry.path: entry.sha256 for entry in read_manifest(folder).files}
    return " ".join(
        f"{role}={listed.get(path) or sha256_of(folder / path)}"
        for role, path in sorted(variant.files.items())
    )
