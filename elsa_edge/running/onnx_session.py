"""The one place that makes ONNX Runtime's session options: what is timed and compared runs as what is deployed.

The settings are those of a device profile's `runtime` section, or `PLAIN` for the oracle. ONNX Runtime is needed only
when something here is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from elsa_edge.errors import RuntimeUnavailableError
from elsa_edge.extras import how_to_install

__all__ = [
    "PLAIN",
    "Optimization",
    "SessionSettings",
    "Settings",
    "onnx_runtime",
    "open_session",
    "options_for",
]

Optimization = Literal["all", "extended", "basic", "none"]
# Names of onnxruntime.GraphOptimizationLevel.
_LEVELS: Final[Mapping[Optimization, str]] = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}


class SessionSettings(Protocol):
    """How sessions are opened; `elsa_edge.profiles.schema.Runtime` is one."""

    @property
    def threads(self) -> int:
        """Threads inside an operator."""

    @property
    def arena(self) -> bool:
        """Whether the runtime keeps freed memory for itself."""

    @property
    def prepack(self) -> bool:
        """Whether weights are copied into the kernels' own layout."""

    @property
    def optimization(self) -> Optimization:
        """How far the graph is rewritten when it is loaded."""

    @property
    def spin(self) -> bool:
        """Whether idle threads spin."""

    @property
    def options(self) -> Mapping[str, str]:
        """Session settings in the runtime's own words; they win."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings where there is no device profile: one thread, everything else as a profile has it by default."""

    threads: int = 1
    arena: bool = True
    prepack: bool = True
    optimization: Optimization = "all"
    spin: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


PLAIN: Final = Settings()


def onnx_runtime() -> Any:
    """Return the package onnxruntime, which ships no types.

    Raises:
        RuntimeUnavailableError: When it is not installed, or does not load.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"ONNX Runtime cannot be loaded ({error})", fix=how_to_install("onnxruntime")
        ) from error
    return onnxruntime


def options_for(
    settings: SessionSettings = PLAIN, *, libraries: Sequence[Path] = (), profile_prefix: Path | None = None
) -> Any:
    """Return SessionOptions.

    Args:
        settings: Threads, memory and graph optimisation.
        libraries: Libraries of custom operators.
        profile_prefix: How the file begins in which the session, when it closes, notes the time of each operator.
    """
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    # What matters arrives as an exception.
    options.log_severity_level = 4
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings.arena
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, _LEVELS[settings.optimization])
    entries = {
        "session.intra_op.allow_spinning": str(int(settings.spin)),
        "session.disable_prepacking": str(int(not settings.prepack)),
    }
    for key, value in (entries | dict(settings.options)).items():
        options.add_session_config_entry(key, value)
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    for library in libraries:
        options.register_custom_ops_library(str(library))
    return options


def open_session(model: Path | bytes, options: Any) -> Any:
    """Open a session on the CPU; what ONNX Runtime raises goes to the caller, who knows what the model is."""
    source = str(model) if isinstance(model, Path) else model
    return onnx_runtime().InferenceSession(source, options, providers=["CPUExecutionProvider"])
