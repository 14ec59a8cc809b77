"""nn.Module -> ONNX, unoptimised: every parameter is still an initializer under its state_dict name.

`optimize=False` keeps BatchNorm apart from the convolutions and the weights apart from what is computed with them
(torch slices LSTM weights, transposes Linear ones), so that masking an initializer masks exactly that weight.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.errors import ExportError, first_line
from elsa_edge.graph.binding import Binding
from elsa_edge.graph.names import OPSET
from elsa_edge.tensors import TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

__all__ = ["example_inputs", "output_names", "torch_to_onnx"]

# torch specialises sizes 0 and 1, so a free batch dimension needs an example of at least 2.
_EXAMPLE_BATCH: Final = 2


def example_inputs(
    inputs: Sequence[TensorSpec], batch: int, seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """Make inputs of the given shapes with `batch` in front: normal floats, integers in {0, 1} (safe as indices)."""
    generator = np.random.default_rng(seed)
    made = {}
    for spec in inputs:
        shape = (batch, *(size or 1 for size in spec.shape[1:]))
        if spec.dtype.startswith("float"):
            made[spec.name] = generator.standard_normal(shape).astype(spec.dtype)
        else:
            made[spec.name] = generator.integers(0, 2, shape).astype(spec.dtype)
    return made


def output_names(result: object) -> list[str]:
    """Name the outputs of a model call: "output" for one tensor, dictionary keys, or "output_0", "output_1", ..."""
    import torch
    from torch.utils._pytree import tree_flatten_with_path

    leaves, _ = tree_flatten_with_path(result)
    tensors = [path for path, leaf in leaves if isinstance(leaf, torch.Tensor)]
    if len(tensors) == 1 and not tensors[0]:
        return ["output"]
    plain = [
        "_".join(re.sub(r"\W", "", str(getattr(key, "key", getattr(key, "idx", key)))) for key in path)
        for path in tensors
    ]
    return [f"output_{name}" if name.isdigit() or not name else name for name in plain]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter says about itself; its errors still come out as exceptions."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def torch_to_onnx(model: torch.nn.Module, binding: Binding) -> ir.Model:
    """Export `model` in evaluation mode with a free batch dimension.

    Args:
        model: The network; its mode is restored afterwards.
        binding: Its inputs and the arguments that they feed; the first dimension is the batch.

    Raises:
        ExportError: Naming the operator and the module that cannot be exported.
    """
    import torch

    training = model.training
    model.eval()
    arguments, keywords = binding.arguments(example_inputs(binding.inputs, _EXAMPLE_BATCH))
    batch = torch.export.Dim("batch")
    try:
        with torch.no_grad(), _quiet():
            try:
                names = output_names(model(*arguments, **keywords))
            except Exception as error:
                raise ExportError(
                    f"The model cannot be called with these inputs ({first_line(_root(error))})",
                    found="; ".join(map(str, binding.inputs)),
                    fix="Check --input-shape: one for each argument of forward, the batch first",
                ) from error
            try:
                free: Any = {spec.name: {0: batch} for spec in binding.inputs}
                if binding.variadic:
                    free = (({0: batch},) * len(arguments),)
                program = torch.export.export(model, arguments, keywords, dynamic_shapes=free)
            except Exception as error:
                raise ExportError(
                    f"torch.export cannot trace the model ({first_line(_root(error))})",
                    found=_where(error),
                    fix="Change that part of the model so that it does not depend on the values or the batch size",
                ) from error
            try:
                onnx_program = torch.onnx.export(
                    program,
                    dynamo=True,
                    optimize=False,
                    verbose=False,
                    opset_version=OPSET,
                    input_names=[spec.name for spec in binding.inputs],
                    output_names=names,
                )
            except Exception as error:
                raise _conversion_error(program, error) from error
    finally:
        model.train(training)
    assert onnx_program is not None
    _name_batch(onnx_program.model)
    return onnx_program.model


def _name_batch(model: ir.Model) -> None:
    """Call the free batch dimension "batch" instead of torch's symbol, also inside expressions; in place."""
    import onnx_ir as ir

    sizes = [size for value in model.graph.inputs if value.shape for size in value.shape]
    symbols = {str(size.value) for size in sizes if isinstance(size, ir.SymbolicDim) and size.value}
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, symbols))})\b") if symbols else None
    for value in [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]:
        if value.shape is not None and pattern is not None:
            value.shape = ir.Shape(
                [
                    pattern.sub("batch", str(size.value))
                    if isinstance(size, ir.SymbolicDim) and size.value
                    else size
                    for size in value.shape
                ]
            )


def _root(error: BaseException) -> BaseException:
    """Return the error that torch's exporter wrapped into others."""
    return error if error.__cause__ is None else _root(error.__cause__)


def _where(error: BaseException) -> str | None:
    """Return the innermost line of the user's own code in a torch.export failure."""
    found = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', str(error))
    own = [entry for entry in found if "site-packages" not in entry[0] and "/lib/python" not in entry[0]]
    if not own:
        return None
    path, line, function = own[-1]
    return f"{path}:{line} in {function}"


def _conversion_error(program: Any, error: BaseException) -> ExportError:
    """Explain a failed translation to ONNX: which operator, in which module of the network."""
    texts = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        texts.append(str(error))
    named = re.search(r"node %(\w+) .*?target=(?:torch\.ops\.)?([\w.]+)\]", "\n".join(texts))
    if named is None:
        return ExportError(f"The model cannot be translated to ONNX ({first_line(_root(error))})")
    # The exporter works on the decomposed program; without it the original serves.
    with contextlib.suppress(Exception):
        program = program.run_decompositions()
    node = next((node for node in program.graph.nodes if node.name == named[1]), None)
    stack: Mapping[str, Any] = (node.meta.get("nn_module_stack") if node is not None else None) or {}
    path, kind = list(stack.values())[-1] if stack else ("", "the model")
    kind = kind if isinstance(kind, str) else kind.__name__
    return ExportError(
        f"The operator {named[2]} has no ONNX form",
        found=f"in module {path or '(top)'} of type {kind.rsplit('.', 1)[-1]}",
        fix="Replace that module with standard operators, or leave the part that uses it out of the model",
    )
