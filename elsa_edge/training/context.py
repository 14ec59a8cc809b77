"""What a sparsifier sees and may do while one level is trained: the weights, what is frozen, the active mask.

active = frozen + what this level may use now;     trainable = active and not frozen
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from elsa_edge.sparsify.allocation import Allocation
from elsa_edge.sparsify.patterns import NofM, Pattern
from elsa_edge.sparsify.prunable import Prunable
from elsa_edge.sparsify.selection import select

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["Context"]


@dataclass
class Context:
    """One level in training.

    Attributes:
        weights: The nested weights.
        parameters: Their parameters, by name.
        frozen: Boolean masks of what sparser levels own; all False at the sparsest.
        density: Target fraction of active weights at the end of this level.
        allocation: Divides a density over the weights.
        pattern: The granularity.
        generator: Random numbers of this level, on the CPU.
        active: Boolean masks of what is in use now, frozen included.
        donor: Last value of each weight before it was switched off, for the denser levels to start from.
        optimizers: Those attached to the level; the first one counts the steps.
        step: Optimiser steps done.
        dense_gradients: Set by a sparsifier that trains weights which are switched off.
        wants_gradients: Set by a sparsifier that wants to see the gradients of weights that are switched off.
        gradients: Those gradients, summed since they were last taken.
        changed: Whether `active` has changed since the stage last looked.
    """

    weights: Sequence[Prunable]
    parameters: Mapping[str, nn.Parameter]
    frozen: Mapping[str, Tensor]
    density: float
    allocation: Allocation
    pattern: Pattern
    generator: torch.Generator
    active: dict[str, Tensor]
    donor: dict[str, Tensor] = field(default_factory=dict)
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    step: int = 0
    dense_gradients: bool = False
    wants_gradients: bool = False
    gradients: dict[str, Tensor] = field(default_factory=dict)
    changed: bool = True

    def magnitudes(self) -> dict[str, Tensor]:
        """Return |w| of every nested weight."""
        return {name: parameter.detach().abs().float() for name, parameter in self.parameters.items()}

    def choose(self, density: float, scores: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the masks with the highest scores (default |w|) at a density, frozen weights included.

        On the way to its target N:M has no densities between the N: it takes the next N above.

        Raises:
            LevelError: When the density cannot be reached.
        """
        found = self.magnitudes() if scores is None else scores
        if isinstance(self.pattern, NofM) and density > self.density:
            density = math.ceil(density * self.pattern.group_size - 1e-9) / self.pattern.group_size
        return select(
            self.weights, found, density, allocation=self.allocation, pattern=self.pattern, frozen=self.frozen
        )

    def set_active(self, masks: Mapping[str, Tensor]) -> None:
        """Switch weights on and off.

        A weight that goes off leaves its value in `donor` and becomes zero; one that comes on starts from
        zero. The optimiser forgets what it knew about both.
        """
        import torch

        with torch.no_grad():
            for name, parameter in self.parameters.items():
                mask = masks[name]
                different = mask != self.active[name]
                if not bool(different.any()):
                    continue
                off = different & ~mask
                self.donor.setdefault(name, parameter.detach().clone())[off] = parameter.detach()[off]
                parameter.masked_fill_(off, 0.0)
                self.forget(name, different)
                self.active[name] = mask
                self.changed = True

    def forget(self, name: str, where: Tensor) -> None:
        """Zero the optimisers' memory (momentum, moments) of a weight at the given positions."""
        import torch

        for optimizer in self.optimizers:
            for value in optimizer.state.get(self.parameters[name], {}).values():
                if isinstance(value, torch.Tensor) and value.shape == where.shape and value.dim():
                    value.masked_fill_(where, 0.0)

    def take_gradients(self) -> dict[str, Tensor]:
        """Return the collected gradients, summed over all processes, and start collecting anew."""
        import torch.distributed as dist

        taken, self.gradients = self.gradients, {}
        if dist.is_available() and dist.is_initialized():
            for name in sorted(taken):
                dist.all_reduce(taken[name])
        return taken

    def learning_rate(self) -> float:
        """Return the learning rate of the first optimiser's first group."""
        return float(self.optimizers[0].param_groups[0]["lr"]) if self.optimizers else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on after a kill."""
        return {
            "active": dict(self.active),
            "donor": dict(self.donor),
            "step": self.step,
            "generator": self.generator.get_state(),
            "gradients": dict(self.gradients),
            "dense_gradients": self.dense_gradients,
            "wants_gradients": self.wants_gradients,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self.active = {name: mask.clone() for name, mask in state["active"].items()}
        self.donor = {name: value.clone() for name, value in state["donor"].items()}
        self.gradients = {name: value.clone() for name, value in state["gradients"].items()}
        self.step = int(state["step"])
        self.generator.set_state(state["generator"].cpu())
        self.dense_gradients = bool(state["dense_gradients"])
        self.wants_gradients = bool(state["wants_gradients"])
        self.changed = True
