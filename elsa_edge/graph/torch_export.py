"""nn.Module -> ONNX, unoptimised: every parameter is still an initializer under its state_dict name.

`optimize=False` keeps BatchNorm apart from the convolutions and the weights apart from what is computed with them
(torch slices LSTM weights, transposes Linear ones), so that masking an initializer masks exactly that weight.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.errors import ExportError
from elsa_edge.graph.binding import Binding
from elsa_edge.graph.names import OPSET
from elsa_edge.graph.sizes import Sizes
from elsa_edge.graph.torch_errors import conversion_error, trace_error
from elsa_edge.tensors import BATCH, TensorSpec
from elsa_edge.visible import hidden_in

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

__all__ = ["example_inputs", "torch_to_onnx"]

_NOT_IN_CODE: Final = frozenset('"\\')
_PLACEHOLDER: Final = "elsa_edge.output.{}"  # until the names of users and torch are kept apart


def example_inputs(
    inputs: Sequence[TensorSpec], batch: int, seed: int = 0, sizes: Sizes | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Make inputs of the given shapes: normal floats, integers in {0, 1} (safe as indices).

    Args:
        inputs: Where nobody has said what is free, the first dimension is the batch.
        batch: Number of samples.
        seed: Of the generator.
        sizes: Numbers for the other free sizes; 1 for those without.
    """
    generator = np.random.default_rng(seed)
    numbers = {**(sizes or {}), BATCH: batch}
    made = {}
    for spec in inputs:
        names = spec.sizes or (BATCH, *(None,) * (len(spec.shape) - 1))[: len(spec.shape)]
        shape = tuple(
            numbers.get(name, 1) if name is not None else (size or 1)
            for name, size in zip(names, spec.shape, strict=True)
        )
        if spec.dtype.startswith("float"):
            made[spec.name] = generator.standard_normal(shape).astype(spec.dtype)
        else:
            made[spec.name] = generator.integers(0, 2, shape).astype(spec.dtype)
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter says about itself; its errors still come out as exceptions."""
    loggers = [
        logging.getLogger(name)
        for name in ("torch.onnx", "torch.export", "torch._export", "torch.fx", "torch")
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        # It prints a whole graph before some errors.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def torch_to_onnx(
    model: torch.nn.Module,
    binding: Binding,
    examples: Mapping[str, np.ndarray[Any, Any]],
    output_names: Sequence[str],
    *,
    related: bool = False,
    keep: Collection[str] = (),
) -> ir.Model:
    """Export `model`, whose forward returns a tuple of tensors, with the free sizes of its inputs.

    Args:
        model: The network in evaluation mode.
        binding: Its inputs, their free sizes, and the arguments that they feed.
        examples: The inputs of the call that is traced; a free size must not be 0 or 1 in them, for torch takes those
            as fixed.
        output_names: What the tensors are to be called.
        related: Let free batches of several inputs be found to depend on each other.
        keep: Initializers whose names stay; others make way for an output of their name.

    Raises:
        ExportError: Naming the operator, module or line of code that cannot be exported.
    """
    import torch

    from elsa_edge.graph.recurrent import recurrent_layers_whole, translations

    _require_writable_names(model)
    arguments, keywords = binding.arguments(examples)
    batch = torch.export.Dim.DYNAMIC if related else torch.export.Dim("batch")

    def free(spec: TensorSpec) -> dict[int, Any]:
        kinds = {
            axis: batch if name == BATCH else torch.export.Dim.DYNAMIC for axis, name in enumerate(spec.sizes)
        }
        return {axis: kind for axis, kind in kinds.items() if spec.sizes[axis] is not None}

    dynamic: Any = {spec.name: free(spec) for spec in binding.inputs}
    if binding.variadic:
        dynamic = (tuple(free(spec) for spec in binding.inputs),)
    with torch.no_grad(), _quiet(), recurrent_layers_whole():
        try:
            program = torch.export.export(model, arguments, keywords, dynamic_shapes=dynamic)
        except Exception as error:
            raise trace_error(error) from error
        try:
            onnx_program = torch.onnx.export(
                program,
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=OPSET,
                custom_translation_table=translations(),
                input_names=[spec.name for spec in binding.inputs],
                output_names=[_PLACEHOLDER.format(place) for place in range(len(output_names))],
            )
        except Exception as error:
            raise conversion_error(program, error) from error
    assert onnx_program is not None
    _name_sizes(onnx_program.model, binding.inputs)
    _name_outputs(onnx_program.model, output_names, keep)
    return onnx_program.model


def _require_writable_names(model: torch.nn.Module) -> None:
    """Refuse modules that torch's exporter cannot name: it writes Python code with their names between quotes.

    What it makes of the network is a module, too, whose own attributes hide parts of the same name.
    """
    import torch

    own = set(dir(torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph()))) - set(dir(torch.nn.Module()))
    for name, _ in (*model.named_children(), *model.named_parameters(recurse=False)):
        if name in own:
            raise ExportError(
                f"A part of the network is called {name!r}, which is an attribute of what torch's exporter makes of it",
                allowed=f"any other name than {', '.join(sorted(word for word in own if word[0] != '_'))}",
                fix="Rename it in the factory, and its weights in the checkpoint",
            )
    for name, _ in model.named_modules():
        hidden = hidden_in(name)
        if hidden is not None or set(name) & _NOT_IN_CODE:
            raise ExportError(
                "A module has a name that torch's exporter cannot write into code",
                expected="characters that can be seen, without quotation marks and backslashes",
                found=f"{name!r}" + (f" with {hidden}" if hidden else ""),
                fix="Rename it where the network is made (add_module, ModuleDict), and its weights in the checkpoint",
            )


def _name_sizes(model: ir.Model, inputs: Sequence[TensorSpec]) -> None:
    """Call the free sizes as the inputs do instead of torch's symbols, also inside expressions; in place."""
    import onnx_ir as ir

    names: dict[str, str] = {}
    for value, spec in zip(model.graph.inputs, inputs, strict=True):
        for size, name in zip(value.shape or (), spec.sizes, strict=True):
            if isinstance(size, ir.SymbolicDim) and size.value and name is not None:
                names[str(size.value)] = name
    if not names:
        return
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")
    for value in [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]:
        if value.shape is not None:
            value.shape = ir.Shape(
                [
                    pattern.sub(lambda found: names[found[1]], str(size.value))
                    if isinstance(size, ir.SymbolicDim) and size.value
                    else size
                    for size in value.shape
                ]
            )


def _name_outputs(model: ir.Model, names: Sequence[str], keep: Collection[str]) -> None:
    """Give the outputs their names; an inner value of such a name makes way, and so does an output for a weight."""
    graph = model.graph
    for name in names:
        if name in graph.initializers and name not in keep:
            initializer = graph.initializers.pop(name)
            initializer.name = f"{name}.constant"
            graph.register_initializer(initializer)
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.name in names:
                value.name = f"{value.name}.inner"
    for value, name in zip(graph.outputs, names, strict=True):
        value.name = f"{name}_output" if name in keep else name
