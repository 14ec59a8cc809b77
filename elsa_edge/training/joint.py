"""Train all levels at once: nested masks by global magnitude, one loss per level, norm layers per level.

    loss = sum_k a_k * loss_k(W * M_k)  [+ b * KL(level k || densest level)],     M_0 in M_1 in ...

Masks are recomputed on a cubic schedule until `end`, then fixed. Optionally each step also trains one network
whose first layers are at a denser level than the rest, so that a running inference can be rerouted to a
sparser level (see `rerouting`). The method's training is not known from the paper's abstract (arXiv
2112.10930); this is our design, with norm layers switched as in slimmable networks, arXiv 1812.08928.

    joint = JointLevels(model, [0.946, 0.866], steps=1000)
    optimizer = torch.optim.SGD(joint.parameters(), lr=0.1)
    joint.attach(optimizer)
    for x, y in batches:
        optimizer.zero_grad()
        joint.backward(lambda: cross_entropy(model(x), y))
        optimizer.step()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import NotFiniteError, UsageError
from elsa_edge.levels import Ladder
from elsa_edge.sparsify.patterns import NofM
from elsa_edge.sparsify.selection import select
from elsa_edge.trained import unwrap
from elsa_edge.training.assemble import assemble
from elsa_edge.training.nesting import Nesting
from elsa_edge.training.partition import float_buffers
from elsa_edge.training.rerouting import layer_order, levels_of_tensors
from elsa_edge.training.sparsifiers.base import check_fraction, check_steps, cubic

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["JointLevels"]


class JointLevels:
    """All levels of one network in training together.

    Args:
        model: The network.
        ladder: Levels or sparsities, sparsest first.
        steps: Optimiser steps of the whole training.
        end: Fraction of the steps after which the masks are fixed.
        every: Steps between new masks; None makes about 50.
        weights: a_k, one per level; None for 1 / K each.
        distillation: b; the closure must then return (loss, logits).
        switch_points: Also train one network a step that changes level at a layer drawn by lot.
        nesting: What is cut together and what is nested; None for the defaults. Norm layers and biases have rows per
            level, and what is not nested is shared and trained jointly.

    Raises:
        UsageError: When a setting is wrong.
    """

    def __init__(
        self,
        model: nn.Module,
        ladder: Ladder | Sequence[float],
        *,
        steps: int,
        end: float = 0.6,
        every: int | None = None,
        weights: Sequence[float] | None = None,
        distillation: float = 0.0,
        switch_points: bool = False,
        nesting: Nesting | None = None,
    ) -> None:
        import torch

        self.model = model = unwrap(model)
        self.ladder = ladder if isinstance(ladder, Ladder) else Ladder.from_sparsities(list(ladder))
        self.steps = check_steps(steps)
        self._last = max(1, round(check_fraction("end", end) * steps))
        self._every = max(1, self._last // 50) if every is None else check_steps(every)
        count = len(self.ladder)
        self._weights = [1.0 / count] * count if weights is None else [float(a) for a in weights]
        if len(self._weights) != count or min(self._weights) < 0 or sum(self._weights) == 0:
            raise UsageError(
                "Joint training needs one weight of at least 0 a level", found=list(weights or [])
            )
        self._distillation = distillation
        self.nesting = (nesting or Nesting()).for_joint()
        self._pattern = self.nesting.pattern(self.ladder.sparsities)
        parts = self.nesting.partition(model, self._pattern)
        self.partition = parts
        self._generator = torch.Generator().manual_seed(self.nesting.seed)
        self.step = 0
        named = dict(model.named_parameters())
        self._nested = {weight.name: named[weight.name] for weight in parts.nested}
        self._switched = {name: named[name] for name in parts.per_level}
        self._buffers = float_buffers(model)
        self._tables = {
            name: torch.nn.Parameter(parameter.detach().unsqueeze(0).repeat(count, *(1,) * parameter.dim()))
            for name, parameter in self._switched.items()
        }
        self._buffer_tables = {
            name: buffer.detach().unsqueeze(0).repeat(count, *(1,) * buffer.dim())
            for name, buffer in self._buffers.items()
        }
        self.masks = [{n: torch.ones_like(p, dtype=torch.bool) for n, p in self._nested.items()}] * count
        self._order = layer_order(model, parts.nested)
        self._switch = switch_points and count > 1 and len(self._order) > 1
        self._settings = {
            **self.nesting.plain(),
            "distillation": distillation,
            "switch_points": switch_points,
            "end": end,
        }
        self._handles: list[Any] = []
        self._refresh_masks()

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return what the optimiser trains: the weights that levels share, and the tables in place of norm layers."""
        switched = {id(parameter) for parameter in self._switched.values()}
        shared = [p for p in self.model.parameters() if id(p) not in switched]
        return [*shared, *self._tables.values()]

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Hook into the optimiser: masks move on after each step.

        Raises:
            UsageError: When it was not made from `joint.parameters()`.
        """
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if not all(id(parameter) in held for parameter in self.parameters()):
            raise UsageError(
                "The optimiser has not all the parameters",
                fix="Make it from joint.parameters(), not model.parameters()",
            )
        self._handles.append(optimizer.register_step_post_hook(self._after_step))

    def _after_step(self, *_: object) -> None:
        self.step += 1
        if self.step <= self._last and (self.step % self._every == 0 or self.step == self._last):
            self._refresh_masks()

    def _refresh_masks(self) -> None:
        scores = {name: parameter.detach().abs() for name, parameter in self._nested.items()}
        progress = self.step / self._last
        masks: list[dict[str, Tensor]] = []
        for sparsity in self.ladder.sparsities:
            now = sparsity if isinstance(self._pattern, NofM) else cubic(progress, sparsity)
            masks.append(
                select(
                    self.partition.nested,
                    scores,
                    1.0 - now,
                    allocation=self.nesting.divide,
                    pattern=self._pattern,
                    frozen=masks[-1] if masks else None,
                )
            )
        self.masks = masks

    @contextlib.contextmanager
    def _masked(self, levels: Mapping[str, int]) -> Iterator[None]:
        """Let every tensor be at its level; afterwards gradients and statistics go back to where they belong."""
        import torch

        dense = {name: parameter.detach().clone() for name, parameter in self._nested.items()}
        summed = {name: parameter.grad for name, parameter in self._nested.items()}
        kept = {name: parameter.detach().clone() for name, parameter in self._switched.items()}
        buffers = {name: buffer.clone() for name, buffer in self._buffers.items()}
        try:
            with torch.no_grad():
                for name, parameter in self._nested.items():
                    parameter.mul_(self.masks[levels[name]][name])
                    parameter.grad = None
                for name, parameter in self._switched.items():
                    parameter.copy_(self._tables[name][levels[name]])
                    parameter.grad = None
                for name, buffer in self._buffers.items():
                    buffer.copy_(self._buffer_tables[name][levels[name]])
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self._nested.items():
                    gradient = parameter.grad
                    if gradient is not None:
                        gradient.mul_(self.masks[levels[name]][name])
                    before = summed[name]
                    parameter.grad = (
                        gradient if before is None else before if gradient is None else before + gradient
                    )
                    parameter.copy_(dense[name])
                for name, parameter in self._switched.items():
                    table = self._tables[name]
                    if parameter.grad is not None:
                        if table.grad is None:
                            table.grad = torch.zeros_like(table)
                        table.grad[levels[name]] += parameter.grad
                    parameter.grad = None
                    parameter.copy_(kept[name])
                for name, buffer in self._buffers.items():
                    self._buffer_tables[name][levels[name]].copy_(buffer)
                    buffer.copy_(buffers[name])

    def _everywhere(self, level: int) -> dict[str, int]:
        return dict.fromkeys((*self._nested, *self._switched, *self._buffers), level)

    def backward(self, closure: Callable[[], Any]) -> float:
        """Run the closure at every level, densest first, and sum the gradients.

        Args:
            closure: Computes the loss of a batch with the network as it is; returns the loss, or (loss,
                logits).

        Returns:
            The weighted loss of all levels.

        Raises:
            UsageError: When distillation is on and the closure gives no logits.
            NotFiniteError: When the loss is NaN or infinite; no gradient is left behind.
        """
        import torch

        total, teacher = 0.0, None
        runs = [(self._everywhere(k), self._weights[k]) for k in reversed(range(len(self.ladder)))]
        if self._switch:
            runs.append((self._drawn(), 1.0 / len(self.ladder)))
        for levels, share in runs:
            with self._masked(levels):
                answer = closure()
                loss, logits = answer if isinstance(answer, tuple) else (answer, None)
                if self._distillation:
                    if logits is None:
                        raise UsageError(
                            "Distillation needs logits", expected="a closure that returns (loss, logits)"
                        )
                    if teacher is None:
                        teacher = torch.softmax(logits.detach(), -1)
                    else:
                        student = torch.log_softmax(logits, -1)
                        loss = loss + self._distillation * torch.nn.functional.kl_div(
                            student, teacher, reduction="batchmean"
                        )
                value = float(loss.detach())
                if not np.isfinite(value):
                    for parameter in self.parameters():
                        parameter.grad = None
                    raise NotFiniteError("The loss is NaN or infinite", fix="Lower the learning rate")
                (share * loss).backward()
                total += share * value
        return total

    def _drawn(self) -> dict[str, int]:
        """Return levels with one switch to a sparser level at a layer drawn by lot."""
        import torch

        dense = int(torch.randint(1, len(self.ladder), (), generator=self._generator))
        sparse = int(torch.randint(0, dense, (), generator=self._generator))
        at = int(torch.randint(1, len(self._order), (), generator=self._generator))
        return self._along([dense] * at + [sparse] * (len(self._order) - at))

    def _along(self, vector: Sequence[int]) -> dict[str, int]:
        return levels_of_tensors(self._order, vector, (*self._nested, *self._switched, *self._buffers))

    @property
    def depth(self) -> int:
        """How many steps of depth have a level of their own, see `rerouting`."""
        return len(self._order)

    @contextlib.contextmanager
    def rerouted(self, vector: Sequence[int]) -> Iterator[nn.Module]:
        """Let the network have one level per step of depth for a while, not rising, for evaluation.

        Raises:
            LevelError: When the vector has another length, rises, or names a level that is not in the ladder.
        """
        for level in vector:
            self.ladder.check(level)
        with self._masked(self._along(vector)):
            yield self.model

    @contextlib.contextmanager
    def at_level(self, level: int) -> Iterator[nn.Module]:
        """Let the network be one level for a while, for evaluation."""
        self.ladder.check(level)
        with self._masked(self._everywhere(level)):
            yield self.model

    def checkpoint(
        self,
        *,
        accuracies: Sequence[float] | None = None,
        flops_fractions: Sequence[float] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> NestedCheckpoint:
        """Return the nested checkpoint.

        Raises:
            UsageError: Before the masks have reached the ladder.
        """
        if self.step < self._last:
            raise UsageError(
                "The masks have not reached the ladder",
                expected=f"{self._last} steps at least",
                found=self.step,
            )
        every = {**self._tables, **self._buffer_tables}
        rows = [{name: table[level] for name, table in every.items()} for level in range(len(self.ladder))]
        facts = {"command": "train", "trainer": "joint", **self._settings, **(provenance or {})}
        return assemble(
            self.model,
            self.ladder,
            self.partition,
            masks=self.masks,
            rows=rows,
            owned=self._nested,
            facts=facts,
            accuracies=accuracies,
            flops_fractions=flops_fractions,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the network and the optimiser."""
        return {
            "ladder": self.ladder.to_json(),
            "settings": dict(self._settings),
            "step": self.step,
            "masks": self.masks,
            "tables": {n: t.detach() for n, t in self._tables.items()},
            "buffers": dict(self._buffer_tables),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`.

        Raises:
            UsageError: When the state is of another ladder or other settings.
        """
        import torch

        if state["ladder"] != self.ladder.to_json() or state["settings"] != self._settings:
            raise UsageError(
                "The saved state is of another ladder or other settings", fix="Resume with the same ones"
            )
        self.step, self.masks = int(state["step"]), [dict(level) for level in state["masks"]]
        self._generator.set_state(state["generator"])
        with torch.no_grad():
            for name, table in self._tables.items():
                table.copy_(state["tables"][name])
            for name, rows in self._buffer_tables.items():
                rows.copy_(state["buffers"][name])
