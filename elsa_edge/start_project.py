"""Start projects: a client's sources, a small application and a bundle inside, ready for the platform's own tools.

    android   Gradle: a library module, a sample application, the bundle in its assets
    web       npm: a page with a worker, the bundle beside it
    cpp       CMake: a library, a program, the bundle beside them

A project is a copy: the person who edits it owns it, so an existing one is never written over.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from elsa_edge.bundle import open_bundle
from elsa_edge.errors import ElsaError, UsageError
from elsa_edge.files import atomic_directory
from elsa_edge.nested_format.library import library_for

__all__ = ["PLATFORMS", "Platform", "bundle_in", "start_project"]

Platform = Literal["android", "web", "cpp"]
PLATFORMS: Final[tuple[Platform, ...]] = get_args(Platform)

_CLIENTS: Final = Path(__file__).with_name("clients")
_KERNELS: Final = Path(__file__).parent / "runtime_adapters" / "kernels" / "native"
# What tests a client, and what its tools leave beside it.
_LEFT_OUT: Final = ("test", "node_modules", "dist", "build", ".gradle", "bundle")
_ON_ONNX_RUNTIME: Final = frozenset({"selector", "switch", "levels"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """What belongs into a project.

    Attributes:
        bundle: Where the bundle lies in it.
        runs: Kinds of variants that its client runs.
        copies: Further files, source -> place.
    """

    bundle: str
    runs: frozenset[str]
    copies: tuple[tuple[Path, str], ...] = ()


_KINDS: Final[dict[Platform, _Kind]] = {
    "android": _Kind(
        "app/src/main/assets/bundle", _ON_ONNX_RUNTIME | {"nested", "tflite-files", "tflite-signatures"}
    ),
    "web": _Kind("bundle", _ON_ONNX_RUNTIME),
    "cpp": _Kind("bundle", _ON_ONNX_RUNTIME | {"nested"}, ((_KERNELS / "ort_abi.h", "src/ort_abi.h"),)),
}
_NATIVES: Final = "app/src/main/jniLibs/arm64-v8a/libelsa_nested.so"


def bundle_in(platform: Platform) -> str:
    """Return where the bundle of a platform's project lies, relative to the project."""
    return _KINDS[platform].bundle


@contextlib.contextmanager
def start_project(
    platform: Platform, destination: Path, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Path]:
    """Yield the place for the bundle of a new project; when it is there, the project appears at the destination.

    Args:
        platform: One of `PLATFORMS`.
        destination: The project's folder, which must not exist or be empty.
        tell: Called with a sentence about what the project cannot run.

    Raises:
        UsageError: When the destination has something in it.
        ElsaError: When the platform's client can run no variant of the bundle, or the disk refuses.
    """
    kind = _KINDS[platform]
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise UsageError(
            f"{destination} has something in it already, and a project of yours is not written over",
            fix=f"Choose another folder; to renew only the bundle: -o {destination / kind.bundle}, without --for",
        )
    with atomic_directory(destination) as folder:
        shutil.copytree(
            _CLIENTS / platform, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT), dirs_exist_ok=True
        )
        for source, place in kind.copies:
            shutil.copyfile(source, folder / place)
        (folder / kind.bundle).parent.mkdir(parents=True, exist_ok=True)
        yield folder / kind.bundle
        _check(folder, kind, platform, tell)


def _check(folder: Path, kind: _Kind, platform: Platform, tell: Callable[[str], None]) -> None:
    """Compare what the bundle has with what the client runs; bring the kernels where they are needed."""
    variants = open_bundle(folder / kind.bundle).manifest.variants
    runnable = [variant for variant in variants if variant.instructions.kind in kind.runs]
    if not runnable:
        raise ElsaError(
            f"The client for {platform} runs no variant of this bundle",
            expected=f"a variant of the kind {', '.join(sorted(kind.runs))}",
            found=", ".join(variant.name for variant in variants),
            fix="Add --variant ort-switch",
        )
    for variant in variants:
        if variant not in runnable:
            tell(f"{variant.name} comes along, but the client for {platform} does not run it")
    nested = [variant.name for variant in runnable if variant.instructions.kind == "nested"]
    if platform == "android" and nested:
        _bring_kernels(folder, nested, others=len(nested) < len(runnable), tell=tell)


def _bring_kernels(folder: Path, nested: list[str], *, others: bool, tell: Callable[[str], None]) -> None:
    library = library_for("android-arm64")
    remedy = (
        "python -m elsa_edge.runtime_adapters.kernels.build --target android-arm64 with an NDK, "
        "or --target android-arm64-zig after pip install ziglang"
    )
    if library is not None:
        (folder / _NATIVES).parent.mkdir(parents=True)
        shutil.copyfile(library, folder / _NATIVES)
    elif others:
        tell(f"{', '.join(nested)} needs kernels for Android, which were not compiled here ({remedy})")
    else:
        raise ElsaError(
            "The bundle has only nested variants, and there are no kernels for Android here",
            fix=f"Add --variant ort-switch, or compile them: {remedy}",
        )
