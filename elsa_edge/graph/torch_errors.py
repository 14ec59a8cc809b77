"""What torch's exporter says about itself, in words that lead on: the operator, the line of code, what to do."""

from __future__ import annotations

import contextlib
import linecache
import re
import sysconfig
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from elsa_edge.errors import ExportError, first_line

__all__ = ["FixedSizeError", "OperatorError", "conversion_error", "root", "trace_error", "where"]

_CUT: Final = "cut the network before that line: --outputs NAME (an output, or a module such as backbone)"
_DATA_DEPENDENT: Final = re.compile(
    r"data.dependent|GuardOnDataDependent|unbacked|\bu\d+\b|\.item\(\)", re.IGNORECASE
)
_TOOLS: Final = ("torch", "functorch", "sympy", "onnxscript", "onnx_ir", "onnx")
_UNPACK: Final = (
    "Packed sequences cannot be traced: run the layer over padded ones and set what lies beyond each length to zero "
    "with torch.where (in one direction the answers up to there are the same)"
)
_PACKED: Final = re.compile(r"pack_padded_sequence|pad_packed_sequence|pack_sequence")
_BATCH_FIXED: Final = re.compile(r"Constraints violated|specialized|constant \(")


class OperatorError(ExportError):
    """An operator that ONNX does not have: no other sizes change that."""


class FixedSizeError(ExportError):
    """A size that was to be free is a number in the network's code, or tied to another one."""


def root(error: BaseException) -> BaseException:
    """Return the error that torch's exporter wrapped into others."""
    return error if error.__cause__ is None else root(error.__cause__)


def trace_error(error: Exception) -> ExportError:
    """Explain why torch.export cannot trace a network."""
    text = str(root(error))
    if _DATA_DEPENDENT.search(text) or "data-dependent" in str(error):
        problem = "The network decides by the numbers that it computes what to compute next"
        return ExportError(
            f"{problem}; one graph cannot hold that ({_short(text)})",
            found=where(error),
            fix=f"Write it with torch.where or torch.cond, or {_CUT}",
        )
    if _BATCH_FIXED.search(text):
        return FixedSizeError(
            f"A size that was to be free is fixed by the network's code ({_short(_about_size(text))})",
            found=where(error),
            fix="Compute with x.shape instead of numbers of its first call, write that size as a number in "
            f"--input-shape (--batch N for the batch), or {_CUT}",
        )
    advice = f"Change that part of the model, or {_CUT}"
    return ExportError(
        f"torch.export cannot trace the model ({_short(text)})",
        found=where(error),
        fix=f"{_UNPACK}, or {_CUT}" if _packs_sequences(error) else advice,
    )


def _packs_sequences(error: BaseException) -> bool:
    """Tell whether the user's code around a failure packs sequences, which torch.export cannot trace."""
    frame = _own_frame(error)
    return frame is not None and any(
        _PACKED.search(linecache.getline(frame[0], line))
        for line in range(max(1, frame[1] - 5), frame[1] + 6)
    )


def _short(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else "no reason given")[:300]


def _about_size(text: str) -> str:
    """Return the line that says which size became which number; the first one only says that some did."""
    lines = [line.strip(" -") for line in text.splitlines() if line.strip()]
    return next(
        (line for line in lines[1:] if "specialized" in line or "guard" in line), lines[0] if lines else ""
    )


def where(error: BaseException) -> str | None:
    """Return the innermost line of code outside torch in a failure: the user's own where there is one."""
    frame = _own_frame(error)
    if frame is None:
        return None
    path, line, function = frame
    code = linecache.getline(path, line).strip()
    return f"{path}:{line} in {function}" + (f": {code}" if code else "")


def _own_frame(error: BaseException) -> tuple[str, int, str] | None:
    frames: list[tuple[str, int, str]] = []
    current: BaseException | None = error
    while current is not None:
        found = [(f.filename, f.lineno or 0, f.name) for f in traceback.extract_tb(current.__traceback__)]
        frames = found + frames
        current = current.__cause__
    frames += [
        (path, int(line), name)
        for path, line, name in re.findall(r'File "([^"]+)", line (\d+), in (\w+)', str(error))
    ]
    outside = [frame for frame in frames if not _is_tool(frame[0])]
    own = [frame for frame in outside if "site-packages" not in frame[0]] or outside
    return own[-1] if own else None


def _is_tool(path: str) -> bool:
    """Tell whether a file belongs to Python, torch, the exporter or ourselves: a line there explains nothing."""
    parts = Path(path).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1] in _TOOLS
    return path.startswith(("<", sysconfig.get_path("stdlib"), str(Path(__file__).parents[1])))


def conversion_error(program: Any, error: BaseException) -> ExportError:
    """Explain a failed translation to ONNX: which operator, in which module of the network."""
    texts = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        texts.append(str(error))
    named = re.search(r"node %(\w+) .*?target=(?:torch\.ops\.)?([\w.]+)\]", "\n".join(texts))
    if named is None:
        return ExportError(
            f"The model cannot be translated to ONNX ({first_line(error)})", fix=_CUT.capitalize()
        )
    # The exporter works on the decomposed program; without it the original serves.
    with contextlib.suppress(Exception):
        program = program.run_decompositions()
    node = next((node for node in program.graph.nodes if node.name == named[1]), None)
    stack: Mapping[str, Any] = (node.meta.get("nn_module_stack") if node is not None else None) or {}
    path, kind = list(stack.values())[-1] if stack else ("", "the model")
    kind = kind if isinstance(kind, str) else kind.__name__
    line = _source_line(node)
    return OperatorError(
        f"The operator {named[2]} has no ONNX form",
        found=f"in module {path or '(top)'} of type {kind.rsplit('.', 1)[-1]}"
        + (f", {line}" if line else ""),
        fix=f"Replace that module with standard operators, or {_CUT}",
    )


def _source_line(node: Any) -> str | None:
    """Return the line of the network's code that a node comes from."""
    trace = (node.meta.get("stack_trace") if node is not None else None) or ""
    found = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', trace)
    own = [frame for frame in found if "/torch/" not in frame[0]]
    return f"{own[-1][0]}:{own[-1][1]} in {own[-1][2]}" if own else None
