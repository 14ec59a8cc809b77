"""The shim between the LiteRT adapter and the two Python packages: find one, open a file, run a signature.

    ai-edge-litert     numpy 1 and 2; can keep XNNPACK's packed weights in a file that is mapped, not copied
    tflite-runtime     the last version is 2.14; numpy 1 only (with numpy 2 its interpreter dies half-way)

Both apply XNNPACK by themselves, tflite-runtime only when `allocate_tensors` comes before the signature runner.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from device_profiles.schema import Runtime
from elsa_edge.errors import BundleError, RuntimeUnavailableError

__all__ = ["Engine", "choose_package", "open_engine"]

Array = npt.NDArray[Any]
PACKAGES: Final = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
_OPTION: Final = "litert.package"


class Engine(Protocol):
    """One loaded file."""

    def run(self, signature: str | None, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a signature; names, shapes and types are the file's."""

    def close(self) -> None:
        """Release it."""


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def choose_package(runtime: Runtime) -> str:
    """Return the package to run with: the one that the profile names, else the newer one that is installed.

    Raises:
        RuntimeUnavailableError: When there is none, or it would crash with this numpy.
    """
    wanted = runtime.options.get(_OPTION)
    if wanted is not None and wanted not in PACKAGES:
        raise RuntimeUnavailableError("The profile names an unknown TFLite runtime", found=wanted, allowed=PACKAGES)
    candidates = [wanted] if wanted else list(PACKAGES)
    package = next((name for name in candidates if _installed(PACKAGES[name])), None)
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


class InterpreterEngine:
    """The classic interpreter, of either package."""

    def __init__(
        self, package: str, path: Path, keys: Sequence[str | None], inputs: Sequence[str], outputs: Sequence[str], threads: int
    ) -> None:
        module = importlib.import_module(PACKAGES[package] + ".interpreter")
        try:
            self._interpreter: Any = module.Interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()  # tflite-runtime applies XNNPACK here or never
            signatures = self._interpreter.get_signature_list()
        except (RuntimeError, ValueError) as error:
            raise BundleError(
                f"{package} cannot load {path.name} ({str(error).strip().splitlines()[0][:200]})",
                fix="Build the bundle again, or check it with `elsa-edge verify`",
            ) from error
        present = list(signatures)
        for key in keys:
            chosen = key if key is not None else (present[0] if len(present) == 1 else None)
            if chosen not in signatures:
                raise BundleError(
                    f"{path.name} has no signature {key or 'at all' if not present else key!r}",
                    expected=", ".join(map(str, keys)),
                    found=", ".join(present) or "none",
                )
            ports = signatures[chosen]
            if set(ports["inputs"]) != set(inputs) or set(ports["outputs"]) != set(outputs):
                raise BundleError(
                    f"The signature {chosen} of {path.name} has other inputs or outputs than the manifest says",
                    expected=f"{', '.join(inputs)} -> {', '.join(outputs)}",
                    found=f"{', '.join(ports['inputs'])} -> {', '.join(ports['outputs'])}",
                )
        self._runners = {key: self._interpreter.get_signature_runner(key if key is not None else present[0]) for key in keys}

    def run(self, signature: str | None, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a signature."""
        answers: Mapping[str, Array] = self._runners[signature](**feed)
        return answers

    def close(self) -> None:
        """Release the interpreter."""
        self._runners = {}
        self._interpreter = None


def open_engine(
    path: Path,
    keys: Sequence[str | None],
    inputs: Sequence[str],
    outputs: Sequence[str],
    runtime: Runtime,
    cache: Path | None,
) -> Engine:
    """Open a file.

    Args:
        path: The `.tflite`.
        keys: Signatures that will be run; None for the only one.
        inputs: Input names that every signature must have.
        outputs: The same for outputs.
        runtime: Threads, and which package.
        cache: Folder for packed weights, or None.
    """
    del cache
    return InterpreterEngine(choose_package(runtime), path, keys, inputs, outputs, runtime.threads)
