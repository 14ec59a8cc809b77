"""The ways to export one network: what is free in each, and the inputs with which it is traced and proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.errors import ExportError, first_line
from elsa_edge.graph.binding import Binding
from elsa_edge.graph.sizes import RealInputs, fixed_batch, free_sizes, trial_sizes, with_batch
from elsa_edge.graph.torch_errors import root, where
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.tensors import TensorSpec

if TYPE_CHECKING:
    import torch

__all__ = ["Attempt", "Ways", "runnable_example"]

Arrays = Mapping[str, np.ndarray[Any, Any]]

# torch takes sizes 0 and 1 as fixed, so a free batch needs an example of at least 2.
_TRACED_BATCH: Final = 2
# Other batches than the one that was traced, so that a batch size frozen into the graph is found.
_PROVED_BATCHES: Final = (3, 1)


@dataclass(frozen=True)
class Attempt:
    """One way to export.

    Attributes:
        binding: Inputs with their free sizes, and the arguments that they feed.
        batch: The fixed batch; None where it is free.
        trace: Inputs of the call that is traced.
        proofs: Inputs to compare with torch on; the first at every level, the others at the densest.
        sizes: Numbers of the other free sizes in `trace` and `proofs`.
        related: Let the batches of several inputs be found to depend on each other.
        stacked: Whether samples are stacked in any input at all.
        real: Whether a person gave the inputs.
    """

    binding: Binding
    batch: int | None
    trace: Arrays
    proofs: Sequence[Arrays]
    sizes: Sequence[Mapping[str, int]] = field(default_factory=list)
    related: bool = False
    stacked: bool = True
    real: bool = False


@dataclass(frozen=True)
class Ways:
    """What is known of a network's inputs before anything is traced.

    Attributes:
        model: The network, in evaluation mode.
        binding: Its inputs with their free sizes, the batch among them.
        batch: The batch size that the user wrote.
        examples: Real inputs; None makes random ones.
        told: Name of a free size -> numbers to prove with.
    """

    model: torch.nn.Module
    binding: Binding
    batch: int
    examples: Arrays | None = None
    told: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: torch.nn.Module,
        binding: Binding,
        examples: Arrays | None = None,
        told: Mapping[str, Sequence[int]] | None = None,
    ) -> Ways:
        """Find the batch among the sizes that the user wrote."""
        marked, batch = with_batch(binding.inputs, examples)
        return cls(model, _rebound(binding, marked), batch, examples, told or {})

    @property
    def has_batch(self) -> bool:
        """Whether any input has a dimension along which samples are stacked."""
        return any(spec.batch_axis is not None for spec in self.binding.inputs)

    def free(self, *, related: bool) -> Attempt:
        """Return the way with a free batch.

        Raises:
            ExportError: When the network cannot be called with another batch than the user's.
            InputError: When the real inputs do not fit.
        """
        inputs = self.binding.inputs
        if self.examples is not None:
            real = RealInputs(inputs, self.examples)
            real.check()
            proofs = [real.arrays, real.samples(1)]
            return Attempt(
                self.binding, None, real.samples(_TRACED_BATCH), proofs, related=related, real=True
            )
        rows = _runnable_sizes(self.model, self.binding, _TRACED_BATCH, self.told)
        trace = example_inputs(inputs, _TRACED_BATCH, sizes=rows[0])
        proofs = [example_inputs(inputs, batch, seed=1, sizes=rows[0]) for batch in _PROVED_BATCHES]
        proofs += [example_inputs(inputs, _PROVED_BATCHES[0], seed=1, sizes=row) for row in rows[1:]]
        return Attempt(self.binding, None, trace, proofs, rows, related=related)

    def fixed(self, batch: int) -> Attempt:
        """Return the way with a batch of that number; other free sizes stay free.

        Raises:
            ExportError: When the network cannot be called with it.
            InputError: When the real inputs do not fit.
        """
        binding = _rebound(self.binding, fixed_batch(self.binding.inputs, batch))
        if self.examples is not None:
            real = RealInputs(self.binding.inputs, self.examples)
            real.check()
            given = real.samples(batch)
            return Attempt(binding, batch, given, [given], real=True, stacked=self.has_batch)
        rows = _runnable_sizes(self.model, binding, batch, self.told)
        proofs = [example_inputs(binding.inputs, batch, seed=1, sizes=row) for row in rows]
        trace = example_inputs(binding.inputs, batch, sizes=rows[0])
        return Attempt(binding, batch, trace, proofs, rows, stacked=self.has_batch)


def runnable_example(model: torch.nn.Module, binding: Binding) -> dict[str, np.ndarray[Any, Any]]:
    """Return random inputs of the batch that the user wrote, with free sizes that the network takes.

    Raises:
        ExportError: When the network cannot be called with them.
    """
    ways = Ways.of(model, binding)
    training = model.training
    model.eval()
    try:
        rows = _runnable_sizes(model, ways.binding, ways.batch, {})
    finally:
        model.train(training)
    return example_inputs(ways.binding.inputs, ways.batch, sizes=rows[0])


def _rebound(binding: Binding, inputs: Sequence[TensorSpec]) -> Binding:
    """Return a binding with other sizes."""
    leading = len(binding.positional)
    return replace(binding, positional=tuple(inputs[:leading]), keyword=tuple(inputs[leading:]))


def _runnable_sizes(
    model: torch.nn.Module, binding: Binding, batch: int, told: Mapping[str, Sequence[int]]
) -> list[Mapping[str, int]]:
    """Return numbers of the free sizes with which the network can be called, the one to trace with first.

    Raises:
        ExportError: When there are none: the inputs are wrong, or this batch does not suit the network.
    """
    refusal: Exception | None = None
    for rows in trial_sizes(free_sizes(binding.inputs), told):
        good: list[Mapping[str, int]] = []
        for row in rows:
            error = _refusal(model, binding, batch, row)
            refusal = refusal or error
            if error is None:
                good.append(row)
            elif told or not good:
                break
        if good and (len(good) == len(rows) or not told):
            return good
    assert refusal is not None
    asked = example_inputs(binding.inputs, batch)
    line = where(refusal)
    raise ExportError(
        f"The model cannot be called with these inputs ({first_line(root(refusal))})",
        found="; ".join(f"{name} {'x'.join(map(str, array.shape))}" for name, array in asked.items())
        + (f" at {line}" if line else ""),
        fix="Check --input-shape: one for each argument of forward, the batch first or called N (h=2xNx64). "
        "Give real inputs with --data FILE.npz where random ones do not suit",
    ) from refusal


def _refusal(
    model: torch.nn.Module, binding: Binding, batch: int, row: Mapping[str, int]
) -> Exception | None:
    """Call the network; return what it raised."""
    import torch

    arguments, keywords = binding.arguments(example_inputs(binding.inputs, batch, sizes=row))
    try:
        with torch.no_grad():
            model(*arguments, **keywords)
    except Exception as error:  # noqa: BLE001 - whatever the network's code raises
        return error
    return None
