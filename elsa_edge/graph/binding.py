"""Which input feeds which argument of `forward`: by name where a name is given, else in order.

    forward(x, bias=None, *, meta)  with  x, meta   ->   model(x, meta=meta)      bias keeps its default

A name that is no argument is refused: an input in the place of another argument computes something else, and a proof
that makes the same mistake passes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.errors import UsageError, closest
from elsa_edge.graph.asked import checked_inputs
from elsa_edge.tensors import TensorSpec

if TYPE_CHECKING:
    import torch

__all__ = ["Binding", "bind_inputs"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Binding:
    """The inputs of a network in the order of its arguments.

    Attributes:
        positional: Inputs for the leading arguments, in order.
        keyword: Inputs passed by name, in the order of the signature.
        variadic: Whether `forward` begins with `*args`, so that `positional` has no argument names.
    """

    positional: tuple[TensorSpec, ...]
    keyword: tuple[TensorSpec, ...]
    variadic: bool = False

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """All inputs, in the order in which the graph gets them."""
        return self.positional + self.keyword

    def arguments(
        self, arrays: Mapping[str, np.ndarray[Any, Any]]
    ) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Return arrays by input name as the positional and the keyword arguments of a call."""
        import torch

        # A copy: torch warns of arrays that it must not write to.
        tensors = {spec.name: torch.from_numpy(np.array(arrays[spec.name])) for spec in self.inputs}
        return (
            tuple(tensors[spec.name] for spec in self.positional),
            {spec.name: tensors[spec.name] for spec in self.keyword},
        )


def bind_inputs(model: torch.nn.Module, inputs: Sequence[TensorSpec]) -> Binding:
    """Decide which argument of `forward` each input feeds; an input without a name gets its argument's.

    Args:
        model: The network.
        inputs: Its inputs; those with an empty name take the arguments that no name claims, in order.

    Raises:
        UsageError: When a name is no argument of `forward`, an argument that must be given is not, there are more
            inputs than arguments, or an input says nothing that can be one.
    """
    inputs = checked_inputs(inputs)
    parameters = inspect.signature(model.forward).parameters
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in list(parameters.values())[:1]):
        return Binding(_numbered(inputs), (), variadic=True)
    allowed = [name for name, p in parameters.items() if p.kind in _NAMED]
    given = {spec.name: spec for spec in inputs if spec.name}
    for name in given:
        if name not in allowed:
            near = closest(name, allowed)
            raise UsageError(
                f"The network's forward has no argument {name!r}",
                allowed=allowed,
                fix=f"Nearest: {near!r}"
                if near
                else "Name the argument that the input is for, or give no name",
            )
    unnamed = iter([spec for spec in inputs if not spec.name])
    for name in allowed:
        if parameters[name].kind in _POSITIONAL and name not in given:
            spec = next(unnamed, None)
            if spec is None:
                break
            given[name] = replace(spec, name=name)
    if next(unnamed, None) is not None:
        raise UsageError(
            "There are more inputs than arguments of forward",
            expected=", ".join(allowed) or "none",
            found="; ".join(map(str, inputs)),
        )
    missing = [
        name for name in allowed if name not in given and parameters[name].default is inspect.Parameter.empty
    ]
    if missing:
        raise UsageError(
            f"The network's forward needs {', '.join(missing)}, for which there is no input",
            found="; ".join(map(str, given.values())) or "no input",
            fix="Give a shape for each argument without a default: --input-shape NAME=SHAPE",
        )
    ordered = [given[name] for name in allowed if name in given]
    leading = 0
    while leading < len(ordered) and ordered[leading].name == allowed[leading]:
        if parameters[allowed[leading]].kind not in _POSITIONAL:
            break
        leading += 1
    return Binding(tuple(ordered[:leading]), tuple(ordered[leading:]))


def _numbered(inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Name the inputs of a `forward(*args)` that have no name: "input", or "input_1", "input_2", ..."""
    pattern = "input" if len(inputs) == 1 else "input_{}"
    return tuple(
        spec if spec.name else replace(spec, name=pattern.format(number))
        for number, spec in enumerate(inputs, 1)
    )
