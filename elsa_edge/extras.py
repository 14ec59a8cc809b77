"""Which extra of elsa-edge brings a module that is missing.

A module's name is not its package's name (yaml is in PyYAML), and a package of a module's name may be somebody else's:
advice names our extras, never a module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["MODULES", "how_to_install"]

# Extra -> the top-level modules of its packages; "" stands for elsa-edge itself. A test holds it to pyproject.toml.
MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("numpy", "pydantic", "yaml", "click", "rich"),
    "ort": ("onnxruntime",),
    "litert": ("ai_edge_litert",),
    "export": ("torch", "safetensors", "onnx", "onnx_ir", "onnxscript"),
    "train": ("accelerate", "PIL"),
    "tflite": ("flatbuffers", "litert_quantizer", "psutil", "sng4onnx"),
    "report": ("matplotlib", "jinja2"),
    "prometheus": ("prometheus_client",),
    "otel": ("opentelemetry",),
    "service": ("starlette", "uvicorn"),
    "quickstart": ("mlxtend",),
}

_AGAIN: Final = "Install elsa-edge again: pip install --force-reinstall elsa-edge"


def how_to_install(module: str | None) -> str:
    """Return a sentence with the command that brings a missing module, or what to do where none of ours does.

    Args:
        module: Its dotted name, as an ImportError gives it.
    """
    top = (module or "").partition(".")[0]
    for extra, modules in MODULES.items():
        if top in modules:
            return f"Install it: pip install 'elsa-edge[{extra}]'" if extra else _AGAIN
    if top in ("", "elsa_edge"):
        return _AGAIN
    return f"Install the package that provides the module {top}; none of elsa-edge's extras does"
