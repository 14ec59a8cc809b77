"""The shim between the LiteRT adapter and the two Python packages: find one, open a file, run a signature.

    ai-edge-litert     numpy 1 and 2; can keep XNNPACK's packed weights in a file that is mapped, not copied
    tflite-runtime     the last version is 2.14; numpy 1 only (with numpy 2 its interpreter dies half-way)

Both apply XNNPACK by themselves, tflite-runtime only when `allocate_tensors` comes before the signature runner.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import BundleError, RuntimeUnavailableError
from elsa_edge.plugins import NO_CACHE, CacheState, CacheUse
from elsa_edge.profiles.schema import Runtime

__all__ = ["PACKAGES", "Engine", "ModelFile", "choose_package", "installed", "open_engine"]

Array = npt.NDArray[Any]
PACKAGES: Final = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
_OPTION: Final = "litert.package"


class Engine(Protocol):
    """One loaded file."""

    @property
    def maps_weights(self) -> bool:
        """Whether weights stay in a mapped file, whose pages the system may drop."""

    def run(self, signature: str | None, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a signature; names, shapes and types are the file's."""

    def reset(self) -> None:
        """Set the state of recurrent kernels back to zero."""

    def close(self) -> None:
        """Release it."""


def installed(module: str) -> bool:
    """Tell whether a module can be imported."""
    return importlib.util.find_spec(module) is not None


def choose_package(runtime: Runtime) -> str:
    """Return the package to run with: the one that the profile prefers, else the newer one, else what is installed.

    Raises:
        RuntimeUnavailableError: When there is none, or it would crash with this numpy.
    """
    wanted = runtime.options.get(_OPTION)
    if wanted is not None and wanted not in PACKAGES:
        raise RuntimeUnavailableError(
            "The profile names an unknown TFLite runtime", found=wanted, allowed=PACKAGES
        )
    candidates = [*([wanted] if wanted else []), *(name for name in PACKAGES if name != wanted)]
    package = next((name for name in candidates if installed(PACKAGES[name])), None)
    if package is None:
        raise RuntimeUnavailableError(
            "No TFLite runtime is installed",
            expected=" or ".join(candidates),
            fix="pip install ai-edge-litert (on 32-bit ARM: pip install tflite-runtime 'numpy<2')",
        )
    if package == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
        raise RuntimeUnavailableError(
            "tflite-runtime was compiled for numpy 1 and crashes with numpy 2",
            found=f"numpy {np.__version__}",
            fix="pip install 'numpy<2', or use ai-edge-litert where it has a wheel",
        )
    return package


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A `.tflite` and what the manifest says is in it.

    Attributes:
        path: The file.
        keys: Signatures that will be run; None stands for the only one.
        inputs: Input names that every signature must have.
        outputs: The same for outputs.
    """

    path: Path
    keys: tuple[str | None, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def resolve(self, signatures: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str | None, str]:
        """Return key -> the signature of the file.

        Raises:
            BundleError: When the file has not the signatures, or these not the inputs and outputs.
        """
        present = list(signatures)
        found: dict[str | None, str] = {}
        for key in self.keys:
            chosen = key if key is not None else present[0] if len(present) == 1 else None
            if chosen is None or chosen not in signatures:
                raise BundleError(
                    f"{self.path.name} does not have the signatures that the manifest promises",
                    expected=", ".join(name or "exactly one" for name in self.keys),
                    found=", ".join(present) or "none",
                    fix="Build the bundle again",
                )
            inputs, outputs = signatures[chosen]["inputs"], signatures[chosen]["outputs"]
            if set(inputs) != set(self.inputs) or set(outputs) != set(self.outputs):
                raise BundleError(
                    f"The signature {chosen} of {self.path.name} has other inputs or outputs than the manifest says",
                    expected=f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}",
                    found=f"{', '.join(inputs)} -> {', '.join(outputs)}",
                    fix="Build the bundle again",
                )
            found[key] = chosen
        return found


class InterpreterEngine:
    """The classic interpreter, of either package."""

    maps_weights: Final = False

    def __init__(self, package: str, file: ModelFile, threads: int) -> None:
        module = importlib.import_module(PACKAGES[package] + ".interpreter")
        try:
            self._interpreter: Any = module.Interpreter(model_path=str(file.path), num_threads=threads)
            self._interpreter.allocate_tensors()  # tflite-runtime applies XNNPACK here or never
            signatures = self._interpreter.get_signature_list()
        except (RuntimeError, ValueError) as error:
            raise not_loadable(package, file, error) from error
        names = file.resolve(signatures)
        self._runners = {key: self._interpreter.get_signature_runner(name) for key, name in names.items()}
        self._allocated = len(self._runners) == 1

    def run(self, signature: str | None, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a signature."""
        answers: Mapping[str, Array] = self._runners[signature](**feed)
        return answers

    def reset(self) -> None:
        """Set the state of recurrent kernels back to zero."""
        if not self._allocated:  # a signature has state to reset only after its first run
            for runner in self._runners.values():
                details = runner.get_input_details().items()
                runner(**{name: np.zeros(detail["shape"], detail["dtype"]) for name, detail in details})
            self._allocated = True
        self._interpreter.reset_all_variables()

    def close(self) -> None:
        """Release the interpreter."""
        self._runners = {}
        self._interpreter = None


def not_loadable(package: str, file: ModelFile, error: Exception) -> BundleError:
    """Return the error for a file that the runtime refuses."""
    reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
    return BundleError(
        f"{package} cannot load {file.path.name} ({reason})",
        fix="Check the bundle with `elsa-edge verify`, or build it again",
    )


def open_engine(
    file: ModelFile, runtime: Runtime, cache: Path | None, *, stateful: bool = False
) -> tuple[Engine, CacheState]:
    """Open a file; also return what became of the cache.

    Args:
        file: The model.
        runtime: Which package, threads, and whether weights are mapped from a cache (`memory_map`, `cache_mb`).
        cache: Folder for packed weights, or None.
        stateful: Whether it keeps state from run to run that must be reset.

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
            from elsa_edge.runtime_adapters.litert.cached import open_cached

            engine, state = open_cached(file, runtime.threads, cache, runtime.cache_mb * 1_000_000)
            if engine is not None:
                return engine, state
    return InterpreterEngine(package, file, runtime.threads), state
