"""ELSA: train nested levels one after another, sparsest first, freezing what each level has learnt.

    for k = 0 .. K-1:   free = positions not in M_(k-1)
                        M_k  = M_(k-1) + what a sparsifier chooses among the free
                        train the free weights of M_k; every weight of M_(k-1) stays as it is, bit for bit

The sparsest level is exactly the network that the sparsifier would train alone, so it loses nothing; only
denser levels can. Any loss, architecture and optimiser: the stages hook into gradients and optimiser steps
and own nothing else. Reconstructed from the abstract of ELSA, arXiv 2312.06872, and the pack-and-freeze step
of PackNet, arXiv 1711.05769.

    stages = elsa_stages(model, [0.95, 0.9, 0.0], sparsifier=lambda k: GradualMagnitude(steps=1000))
    for stage in stages:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        stage.attach(optimizer)
        my_training_loop(model, optimizer)
    stages.checkpoint().save(path)
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import CheckpointError, ElsaError, UsageError
from elsa_edge.levels import Ladder
from elsa_edge.trained import unwrap
from elsa_edge.training.assemble import assemble
from elsa_edge.training.context import Context
from elsa_edge.training.initial import free_values
from elsa_edge.training.nesting import Nesting
from elsa_edge.training.partition import float_buffers
from elsa_edge.training.sparsifiers.base import Sparsifier
from elsa_edge.training.stage import Stage

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["ElsaStages", "elsa_stages"]

SparsifierFor: TypeAlias = Sparsifier | Callable[[int], Sparsifier]


def _refuse_sharded(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if type(parameter.data).__name__ == "DTensor" or hasattr(parameter, "placements"):
            raise UsageError(
                f"{name} is a DTensor (FSDP2): masks and frozen weights need whole tensors on every process",
                fix="Use DistributedDataParallel, or shard after elsa-edge has finished",
            )


class ElsaStages:
    """The levels of one network in training; iterate over it once. Made by `elsa_stages`, which has the arguments."""

    def __init__(
        self,
        model: nn.Module,
        ladder: Ladder | Sequence[float],
        sparsifier: SparsifierFor,
        *,
        nesting: Nesting,
        donor: Mapping[str, Tensor] | None = None,
    ) -> None:
        _refuse_sharded(model)
        self.model = model = unwrap(model)
        self.ladder = ladder if isinstance(ladder, Ladder) else Ladder.from_sparsities(list(ladder))
        self.nesting = nesting
        self._sparsifier = sparsifier
        self._pattern = nesting.pattern(self.ladder.sparsities)
        self.partition = nesting.partition(model, self._pattern)
        named = dict(model.named_parameters())
        self.parameters = {weight.name: named[weight.name] for weight in self.partition.nested}
        self._first = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self._donor = self._checked_donor(donor)
        self._masks: list[dict[str, Tensor]] = []
        self._rows: list[dict[str, Tensor]] = []
        self._owned: dict[str, Tensor] = {}
        self._level = 0
        self._stage: Stage | None = None
        self._pending: Mapping[str, Any] | None = None

    def _checked_donor(self, donor: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        if donor is None:
            return {}
        wrong = [n for n, p in self.parameters.items() if n not in donor or donor[n].shape != p.shape]
        if wrong:
            raise CheckpointError("The donor does not fit the network", found=", ".join(wrong[:8]))
        return {name: donor[name].detach().clone().to(p) for name, p in self.parameters.items()}

    def __len__(self) -> int:
        return len(self.ladder)

    @property
    def finished_levels(self) -> int:
        """How many levels are trained and frozen."""
        return len(self._masks)

    def frozen_masks(self) -> dict[str, Tensor]:
        """Return what the finished levels own."""
        import torch

        if self._masks:
            return self._masks[-1]
        return {n: torch.zeros_like(p, dtype=torch.bool) for n, p in self.parameters.items()}

    def __iter__(self) -> Iterator[Stage]:
        while self._level < len(self.ladder):
            stage = self._begin()
            yield stage
            self._finish(stage)

    def _context(self) -> Context:
        import torch

        frozen = self.frozen_masks()
        return Context(
            weights=self.partition.nested,
            parameters=self.parameters,
            frozen=frozen,
            density=1.0 - self.ladder[self._level].sparsity,
            allocation=self.nesting.divide,
            pattern=self._pattern,
            generator=torch.Generator().manual_seed(self.nesting.seed * 1000 + self._level),
            active={name: torch.ones_like(mask) for name, mask in frozen.items()},
        )

    def _begin(self) -> Stage:
        self._check_untouched()
        context = self._context()
        chosen = self._sparsifier
        sparsifier = copy.deepcopy(chosen) if isinstance(chosen, Sparsifier) else chosen(self._level)
        stage = Stage(
            level=self._level,
            name=self.ladder[self._level].name,
            model=self.model,
            context=context,
            sparsifier=sparsifier,
            owned=self._owned,
            shared=self._shared_values(),
            freeze_statistics=self.partition.freeze_statistics and self._level > 0,
        )
        if self._pending is not None:
            stage.load_state_dict(self._pending)
            self._pending = None
        else:
            if self._level:
                self._free_weights(context)
            if context.density < 1.0:
                sparsifier.begin(context)
        self._stage = stage
        return stage

    def _free_weights(self, context: Context) -> None:
        import torch

        with torch.no_grad():
            for weight in self.partition.nested:
                parameter, frozen = self.parameters[weight.name], context.frozen[weight.name]
                values = free_values(
                    self.nesting.init,
                    weight,
                    parameter.detach(),
                    frozen,
                    donor=self._donor,
                    first=self._first,
                    generator=context.generator,
                )
                parameter.copy_(torch.where(frozen, parameter, values))

    def _shared_values(self) -> dict[str, Tensor]:
        """Return what stays as it is in every level but the sparsest."""
        if self._level == 0:
            return {}
        named = dict(self.model.named_parameters())
        return {name: named[name].detach().clone() for name in self.partition.shared}

    def _check_untouched(self) -> None:
        """Refuse to go on when somebody changed the network since the last level was frozen.

        Raises:
            ElsaError: Naming the tensors.
        """
        import torch

        named = dict(self.model.named_parameters())
        gone = [n for n, p in self.parameters.items() if n not in named or named[n] is not p]
        if gone:
            raise ElsaError(
                "The network's parameters are other objects than when the stages began",
                found=", ".join(gone[:5]),
                fix="Move or rebuild the network before elsa_stages, not between levels",
            )
        if not self._masks:
            return
        changed = [
            name
            for name, mask in self._masks[-1].items()
            if not torch.equal(self.parameters[name].detach()[mask], self._owned[name][mask])
        ]
        if changed:
            raise ElsaError(
                "Frozen weights were changed between two levels",
                found=", ".join(changed[:5]),
                fix="Train only between attach and the next level",
            )

    def _finish(self, stage: Stage) -> None:
        stage.finish()
        context = stage.context
        self._donor = {**self._donor, **{n: value.clone() for n, value in context.donor.items()}}
        self._masks.append({name: mask.clone() for name, mask in context.active.items()})
        self._owned = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        named = dict(self.model.named_parameters())
        row = {name: named[name].detach().clone() for name in self.partition.per_level}
        row |= {name: buffer.detach().clone() for name, buffer in float_buffers(self.model).items()}
        self._rows.append(row)
        self._level += 1
        self._stage = None

    @contextlib.contextmanager
    def at_level(self, level: int) -> Iterator[nn.Module]:
        """Let the network be one of its finished levels for a while, for evaluation.

        Raises:
            LevelError: When the ladder has no such level.
            UsageError: When that level is not finished.
        """
        import torch

        if self.ladder.check(level) >= len(self._masks):
            raise UsageError(f"Level {level} is not trained yet", found=f"{len(self._masks)} finished levels")
        tensors = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        before = {name: tensors[name].detach().clone() for name in (*self.parameters, *self._rows[level])}
        try:
            with torch.no_grad():
                for name, mask in self._masks[level].items():
                    tensors[name].copy_(
                        torch.where(mask, self._owned[name], torch.zeros_like(self._owned[name]))
                    )
                for name, value in self._rows[level].items():
                    tensors[name].copy_(value)
            yield self.model
        finally:
            with torch.no_grad():
                for name, value in before.items():
                    tensors[name].copy_(value)

    def checkpoint(
        self,
        *,
        accuracies: Sequence[float] | None = None,
        flops_fractions: Sequence[float] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> NestedCheckpoint:
        """Return the nested checkpoint of all levels.

        Raises:
            UsageError: When levels are still to be trained.
        """
        if len(self._masks) < len(self.ladder):
            raise UsageError(
                "Not all levels are trained", expected=f"{len(self.ladder)} levels", found=len(self._masks)
            )
        facts = {"command": "train", "trainer": "freeze", **self.nesting.plain(), **(provenance or {})}
        return assemble(
            self.model,
            self.ladder,
            self.partition,
            masks=self._masks,
            rows=self._rows,
            owned=self._owned,
            facts=facts,
            accuracies=accuracies,
            flops_fractions=flops_fractions,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the network and the optimiser, at any moment, for resuming after a kill."""
        return {
            "ladder": self.ladder.to_json(),
            "settings": self.nesting.plain(),
            "level": self._level,
            "masks": self._masks,
            "rows": self._rows,
            "owned": self._owned,
            "donor": self._donor,
            "first": self._first,
            "stage": None if self._stage is None else self._stage.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; the network's own state_dict is loaded by the caller, before.

        Raises:
            UsageError: When the state is of another ladder or other settings.
        """
        if state["ladder"] != self.ladder.to_json() or state["settings"] != self.nesting.plain():
            raise UsageError(
                "The saved state is of another ladder or other settings", fix="Resume with the same ones"
            )
        self._masks = [dict(level) for level in state["masks"]]
        self._rows = [dict(row) for row in state["rows"]]
        self._owned, self._donor = dict(state["owned"]), dict(state["donor"])
        self._first, self._level = dict(state["first"]), int(state["level"])
        self._pending = state["stage"]


def elsa_stages(
    model: nn.Module,
    ladder: Ladder | Sequence[float],
    *,
    sparsifier: SparsifierFor,
    nesting: Nesting | None = None,
    donor: Mapping[str, Tensor] | None = None,
) -> ElsaStages:
    """Prepare a network for training in nested levels.

    Args:
        model: The network, at its first values or trained; moved to its device already.
        ladder: Levels or sparsities, sparsest first.
        sparsifier: Used for every level that is not dense: one object, copied for each level, or a function
            of the level's number that makes one.
        nesting: What is cut together, shared or of each level's own; None for the defaults.
        donor: A state_dict of a trained dense network, for `init="donor"`.

    Returns:
        The stages, to be iterated over once.

    Raises:
        UsageError: When a setting is wrong or the network is sharded.
        LevelError: When the ladder cannot be reached.

    Example:
        >>> import torch
        >>> from elsa_edge.training import OneShotMagnitude
        >>> network = torch.nn.Linear(20, 50)
        >>> stages = elsa_stages(network, [0.9, 0.0], sparsifier=OneShotMagnitude())
        >>> for stage in stages:
        ...     optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        ...     stage.attach(optimizer)
        ...     network(torch.ones(4, 20)).sum().backward()
        ...     optimizer.step()
        >>> stages.checkpoint().ladder.sparsities
        (0.9, 0.0)
    """
    return ElsaStages(model, ladder, sparsifier, nesting=nesting or Nesting(), donor=donor)
