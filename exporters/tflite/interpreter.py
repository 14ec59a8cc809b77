"""The interpreter of exporters: over a model in memory, tried in a process apart before this one opens it.

What a converter writes may fail a check that ends LiteRT's process, where other mistakes are refused in words: an ADD
of 8-bit numbers without a scale did. A build must survive that, and leave the variant out.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ContractError, ExportError
from elsa_edge.files import scratch_folder
from elsa_edge.running.apart import ENDED, Apart, serve

__all__ = ["Interpreter"]

Array = npt.NDArray[Any]


class Interpreter:
    """A plain interpreter over a model in memory, for exporters; devices use runtime_adapters/litert/adapter.py.

    Args:
        content: The flatbuffer.
        keep_all: Keep the values of all tensors, on the builtin kernels instead of XNNPACK.
        threads: Threads.
        apart: Try it in a process apart first.

    Raises:
        ExportError: When it ends the process that tries it.
        ContractError: When the runtime refuses it.
    """

    def __init__(
        self, content: bytes, *, keep_all: bool = False, threads: int = 1, apart: bool = True
    ) -> None:
        from ai_edge_litert import interpreter as litert

        options: dict[str, Any] = {"num_threads": threads}
        if keep_all:
            options["experimental_preserve_all_tensors"] = True
            options["experimental_op_resolver_type"] = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if apart:
            _require_survives(content, keep_all=keep_all, threads=threads)
        try:
            self._interpreter = litert.Interpreter(model_content=content, **options)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ContractError(
                f"The TFLite runtime does not accept the file ({str(error).strip()[:300]})"
            ) from error

    def run(self, inputs: Mapping[str, Array], signature: str | None = None) -> dict[str, Array]:
        """Run a signature (the first by default) on inputs in the file's layout and types."""
        runner = self._interpreter.get_signature_runner(signature)
        if signature is None:
            self._interpreter.reset_all_variables()  # recurrent kernels keep their state from run to run
        try:
            return dict(runner(**inputs))
        except (RuntimeError, ValueError) as error:
            raise ContractError(
                f"The TFLite runtime cannot run the file ({str(error).strip()[:300]})"
            ) from error

    def run_on_zeros(self) -> None:
        """Run every signature on zeros."""
        for signature in self._interpreter.get_signature_list():
            details = self._interpreter.get_signature_runner(signature).get_input_details()
            self.run({name: np.zeros(one["shape"], one["dtype"]) for name, one in details.items()}, signature)

    def tensors(self) -> dict[str, Array]:
        """Return every readable tensor of the first subgraph by name, after a run with `keep_all`."""
        values = {}
        for detail in self._interpreter.get_tensor_details():
            try:
                values[str(detail["name"])] = self._interpreter.get_tensor(detail["index"])
            except ValueError:
                continue
        return values


_helper = Apart(__name__)


def _require_survives(content: bytes, *, keep_all: bool, threads: int) -> None:
    with scratch_folder() as folder:
        file = folder / "model.tflite"
        file.write_bytes(content)
        answer = _helper.ask({"path": str(file), "keep_all": keep_all, "threads": threads})
    if ENDED in answer:
        raise ExportError(
            f"The TFLite runtime {answer[ENDED]} when the converted file was opened in a process apart",
            fix="Build an ONNX Runtime variant (ort-switch), and please report the network",
        )


def _open_and_run(question: dict[str, Any]) -> dict[str, Any]:
    """Open a file and run it on zeros, in the process that may die of it; a refusal is told when it is opened here."""
    try:
        interpreter = Interpreter(
            Path(question["path"]).read_bytes(),
            keep_all=question["keep_all"],
            threads=question["threads"],
            apart=False,
        )
        interpreter.run_on_zeros()
    except ContractError:
        return {"refused": True}
    return {"refused": False}


if __name__ == "__main__":
    importlib.import_module("ai_edge_litert.interpreter")  # once, and not in each fork
    serve(_open_and_run)
