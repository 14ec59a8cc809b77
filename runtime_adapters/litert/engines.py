"""The shim between the LiteRT adapter and the two Python packages: find one; run a signature with the interpreter.

    ai-edge-litert     numpy 1 and 2; can keep XNNPACK's packed weights in a file that is mapped, not copied
    tflite-runtime     the last version is 2.14; numpy 1 only (with numpy 2 its interpreter dies half-way)

Both apply XNNPACK by themselves, tflite-runtime only when `allocate_tensors` comes before the signature runner.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import RuntimeUnavailableError
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.litert.model_file import ModelFile, not_loadable

__all__ = ["PACKAGES", "Engine", "InterpreterEngine", "Ports", "choose_package", "installed", "ports_of"]

Array = npt.NDArray[Any]
Ports = Mapping[str, tuple[tuple[int, ...], str]]  # name -> shape and numpy type
PACKAGES: Final = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
_OPTION: Final = "litert.package"


class Engine(Protocol):
    """One loaded file."""

    @property
    def maps_weights(self) -> bool:
        """Whether weights stay in a mapped file, whose pages the system may drop."""

    def ports(self, signature: str | None) -> tuple[Ports, Ports]:
        """Return what the file itself says of a signature's inputs and outputs."""

    def run(self, signature: str | None, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a signature; names, shapes and types are the file's."""

    def close(self) -> None:
        """Release it."""


def ports_of(details: Mapping[str, Mapping[str, Any]]) -> Ports:
    """Return name -> shape and numpy type from a runtime's description of tensors."""
    return {
        name: (tuple(int(size) for size in one["shape"]), np.dtype(one["dtype"]).name)
        for name, one in details.items()
    }


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


class InterpreterEngine:
    """The classic interpreter, of either package.

    Args:
        package: One of `PACKAGES`.
        file: The model.
        threads: Threads.
        stateful: Whether recurrent kernels keep state from run to run; every run then begins at zero.
    """

    maps_weights: Final = False

    def __init__(self, package: str, file: ModelFile, threads: int, *, stateful: bool) -> None:
        module = importlib.import_module(PACKAGES[package] + ".interpreter")
        try:
            self._interpreter: Any = module.Interpreter(model_path=str(file.path), num_threads=threads)
            # tflite-runtime applies XNNPACK here or never.
            self._interpreter.allocate_tensors()
            signatures = self._interpreter.get_signature_list()
        except (RuntimeError, ValueError) as error:
            raise not_loadable(package, file, error) from error
        names = file.resolve(signatures)
        self._runners = {key: self._interpreter.get_signature_runner(name) for key, name in names.items()}
        self._stateful = stateful
        self._allocated = len(self._runners) == 1

    def ports(self, signature: str | None) -> tuple[Ports, Ports]:
        """Return what the file itself says of a signature's inputs and outputs."""
        runner = self._runners[signature]
        return ports_of(runner.get_input_details()), ports_of(runner.get_output_details())

    def run(self, signature: str | None, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a signature."""
        if self._stateful:
            self._reset()
        answers: Mapping[str, Array] = self._runners[signature](**feed)
        return answers

    def _reset(self) -> None:
        """Set the state of recurrent kernels back to zero."""
        # A signature has state to reset only after its first run.
        if not self._allocated:
            for runner in self._runners.values():
                details = runner.get_input_details().items()
                runner(**{name: np.zeros(detail["shape"], detail["dtype"]) for name, detail in details})
            self._allocated = True
        self._interpreter.reset_all_variables()

    def close(self) -> None:
        """Release the interpreter."""
        self._runners = {}
        self._interpreter = None
