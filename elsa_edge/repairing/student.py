"""The network that learns, one level at a time, in place; what it may change, and what it must not.

    tables     W_k = mask_k * W            rows[k] of norm layers and biases are tuned, W is never written
    weights    W_k = where(index = k, tuned, where(index < k, W, 0))          and then W <- where(index = k, tuned, W)

Every optimiser step is followed by `hold`, which restores what is not to be tuned, bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import UsageError
from elsa_edge.levels import Ladder
from elsa_edge.sparsify.norms import batch_norms
from elsa_edge.training.partition import float_buffers, norm_parameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["Student"]

# A bias of zeros must be able to move, too.
_LEAST_SIZE: Final = 0.1


class Student:
    """A nested checkpoint inside its network, ready to be tuned level by level.

    Args:
        model: The network, without wrappers, holding the checkpoint's dense weights; it is changed.
        checkpoint: Levels as they were cut.
        mode: `tables` or `weights`.

    Raises:
        UsageError: When the network has nothing that the mode could tune.
    """

    def __init__(self, model: nn.Module, checkpoint: NestedCheckpoint, mode: str) -> None:
        import torch

        self.model, self.checkpoint, self.mode = model, checkpoint, mode
        self._parameters = dict(model.named_parameters())
        self._buffers = float_buffers(model)
        self._names = _first_names(model)
        device = next(iter(self._parameters.values())).device
        self._index = {
            name: torch.from_numpy(np.array(index)).to(device)
            for name, index in checkpoint.indices.items()
            if name in self._parameters
        }
        self.weights = {name: self._parameters[name].detach().clone() for name in self._index}
        norms = norm_parameters(model)
        light = [
            name
            for name, parameter in self._parameters.items()
            if name not in self._index and (parameter.dim() <= 1 or id(parameter) in norms)
        ]
        own_rows = [name for name in checkpoint.tables if name in self._parameters]
        if mode == "tables" and not light:
            raise UsageError(
                "This network has nothing to tune beside its weights: no norm layer and no bias",
                fix="Use --mode weights",
            )
        self.tuned = [*light, *(n for n in own_rows if n not in light and mode == "weights")]
        row_names = dict.fromkeys([*light, *own_rows, *self._buffers])
        self.rows = [
            {name: torch.from_numpy(np.array(state[name])).to(device) for name in row_names}
            for state in (checkpoint.at_level(level) for level in range(len(checkpoint.ladder)))
        ]
        self._wanted = {name: parameter.requires_grad for name, parameter in self._parameters.items()}
        self._held_rows: dict[str, Tensor] = {}
        self._level = 0

    def release(self) -> None:
        """Give the network back: what requires gradients is as before, and none is left."""
        for name, parameter in self._parameters.items():
            parameter.requires_grad_(self._wanted[name])
            parameter.grad = None

    def is_dense(self, level: int) -> bool:
        """Whether a level is the dense network itself: every weight active that is not zero anyway."""
        return all(
            bool(((index <= level) | (self.weights[name] == 0.0)).all())
            for name, index in self._index.items()
        )

    def needs_repair(self, level: int) -> bool:
        """Whether a level can differ from the dense network: it is cut, or weights below it were changed."""
        return not self.is_dense(level) or (self.mode == "weights" and level > 0)

    def enter(self, level: int) -> list[tuple[torch.nn.Parameter, float]]:
        """Let the network be a level and return what the optimiser may tune, each with the size of its numbers."""
        import torch

        self._level = level
        with torch.no_grad():
            for name, index in self._index.items():
                self._parameters[name].copy_(torch.where(index <= level, self.weights[name], 0.0))
            for name, value in self.rows[level].items():
                self._tensor(name).copy_(value)
        self._held_rows = self._dead_rows(level)
        names = list(self.tuned)
        if self.mode == "weights":
            names += [name for name, index in self._index.items() if bool((index == level).any())]
        for name, parameter in self._parameters.items():
            parameter.requires_grad_(name in names)
            parameter.grad = None
        return [(self._parameters[name], self._size(name)) for name in names]

    def show_cut(self, level: int) -> None:
        """Let the network be a level as it was cut, before the levels below it were tuned."""
        import torch

        weights = self.checkpoint.weights
        with torch.no_grad():
            for name, index in self._index.items():
                parameter = self._parameters[name]
                cut = torch.from_numpy(np.array(weights[name])).to(parameter.device)
                parameter.copy_(torch.where(index <= level, cut, 0.0))
            for name, value in self.rows[level].items():
                self._tensor(name).copy_(value)

    def _size(self, name: str) -> float:
        """Return the root mean square of the numbers that are tuned: steps are taken in proportion to it."""
        values = self._parameters[name].detach()
        if name in self._index:
            values = values[self._index[name] == self._level]
            return max(float(values.square().mean().sqrt()), 1e-6)
        return max(float(values.square().mean().sqrt()), _LEAST_SIZE)

    def _tensor(self, name: str) -> Tensor:
        return self._parameters[name] if name in self._parameters else self._buffers[name]

    def _dead_rows(self, level: int) -> dict[str, Tensor]:
        """Return where rows must stay zero: the cut zeroed them there, so that dead channels put out zero.

        A place counts where the row is zero and the dense one is not; all vectors of its module are held there.
        """
        import torch

        found: dict[str, Tensor] = {}
        for name in self.tuned:
            row = self.rows[level][name]
            dense = torch.from_numpy(np.array(self.checkpoint.weights[name])).to(row.device)
            zeroed = (row == 0.0) & (dense != 0.0)
            if row.dim() == 1 and bool(zeroed.any()):
                module = name.rpartition(".")[0]
                for other in self.tuned:
                    if other.rpartition(".")[0] == module and self.rows[level][other].shape == row.shape:
                        found[other] = zeroed | found.get(other, torch.zeros_like(zeroed))
        return found

    def mask_gradients(self) -> None:
        """Drop the gradients of what `hold` restores, before they are clipped or enter Adam's moments."""
        for name, index in self._index.items():
            gradient = self._parameters[name].grad
            if gradient is not None:
                gradient.mul_(index == self._level)
        for name, held in self._held_rows.items():
            gradient = self._parameters[name].grad
            if gradient is not None:
                gradient.masked_fill_(held, 0.0)

    def hold(self) -> None:
        """Restore every value that this level may not change, bit by bit."""
        import torch

        with torch.no_grad():
            if self.mode == "weights":
                for name, index in self._index.items():
                    parameter = self._parameters[name]
                    fixed = torch.where(index < self._level, self.weights[name], 0.0)
                    parameter.copy_(torch.where(index == self._level, parameter, fixed))
            for name, held in self._held_rows.items():
                self._parameters[name].masked_fill_(held, 0.0)

    def statistics(self) -> list[Tensor]:
        """Return the running statistics, which every process gathers on its own share of the inputs."""
        return [self._tensor(name) for name in self._buffers]

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of everything that tuning changes at this level."""
        names = [*self.rows[self._level], *(self._index if self.mode == "weights" else ())]
        return {name: self._tensor(name).detach().clone() for name in names}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Undo everything since `snapshot`."""
        import torch

        with torch.no_grad():
            for name, value in snapshot.items():
                self._tensor(name).copy_(value)

    def keep(self, snapshot: Mapping[str, Tensor]) -> None:
        """Make a snapshot the level's own: its rows, and in mode `weights` what it adds, frozen from now on."""
        import torch

        self.rows[self._level] = {name: snapshot[name].clone() for name in self.rows[self._level]}
        if self.mode == "weights":
            for name, index in self._index.items():
                self.weights[name] = torch.where(index == self._level, snapshot[name], self.weights[name])

    def state(self) -> dict[str, Any]:
        """Return rows and weights of all levels, for going on after an interruption."""
        return {"rows": self.rows, "weights": self.weights}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.rows = [{n: v.to(self._tensor(n).device) for n, v in row.items()} for row in state["rows"]]
        self.weights = {n: v.to(self._tensor(n).device) for n, v in state["weights"].items()}

    def training_mode(self) -> None:
        """Let BatchNorm use each batch's statistics and gather them; everything else, dropout too, stays as in use."""
        self.model.eval()
        for norm in batch_norms(self.model).values():
            norm.training = True

    def result(self, facts: Mapping[str, Any], repaired: Mapping[int, Any]) -> NestedCheckpoint:
        """Return the checkpoint with what was tuned; the accuracy of a repaired level is unknown again."""
        old = self.checkpoint
        weights = {name: np.array(array) for name, array in old.weights.items()}
        tables = {name: np.array(array) for name, array in old.tables.items()}
        for name, first in self._names.items():
            if first in self._index and self.mode == "weights":
                weights[name] = self.weights[first].cpu().numpy().copy()
            if first in self.rows[-1]:
                table = np.stack([row[first].cpu().numpy() for row in self.rows])
                if self.mode == "weights":
                    weights[name] = table[-1].copy()
                if name in tables or any(not np.array_equal(row, weights[name]) for row in table):
                    tables[name] = table
        ladder = Ladder(
            tuple(level.without_accuracy() if k in repaired else level for k, level in enumerate(old.ladder))
        )
        return NestedCheckpoint(weights, old.indices, tables, ladder, {**old.provenance, **facts})


def _first_names(model: nn.Module) -> dict[str, str]:
    """Return state_dict name -> the name under which `named_parameters` or `named_buffers` lists that tensor."""
    listed = [*model.named_parameters(), *model.named_buffers()]
    first = {id(tensor): name for name, tensor in listed}
    state = model.state_dict(keep_vars=True)
    return {name: first[id(tensor)] for name, tensor in state.items() if id(tensor) in first}
