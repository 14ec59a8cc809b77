"""What the training loop sees of a method: trainings that follow each other, one batch, the network to evaluate.

    for name in trainer.segments():                 the network is ready for this training
        trainer.attach(optimizer of trainer.parameters())
        each batch:  trainer.backward(closure, scaler);  optimizer.step()
        each epoch:  with trainer.evaluated(): accuracy

The loop in runner.py knows no method, and no method knows the loop.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from elsa_edge.errors import NotFiniteError
from elsa_edge.training.joint import JointLevels
from elsa_edge.training.stages import ElsaStages

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Closure", "FreezeTrainer", "JointTrainer", "Trainer"]

Closure: TypeAlias = "Callable[[], tuple[Tensor, Any]]"
"""Runs the network on a batch and returns its loss and its outputs."""


class Trainer(Protocol):
    """One way to train the levels of a network.

    Attributes:
        one_process: Whether it cannot be spread over processes.
        levels: The levels in training: state, evaluation, checkpoint.
    """

    one_process: ClassVar[bool]

    @property
    def levels(self) -> ElsaStages | JointLevels:
        """The levels in training."""

    def segments(self) -> Iterator[tuple[int, str]]:
        """Yield number and name of each training that is left; the network is ready for it then."""

    def parameters(self) -> list[Any]:
        """Return what the optimiser of the segment trains."""

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Hook into the optimiser of the segment."""

    def backward(self, closure: Closure, scaler: Any = None) -> float:
        """Compute the gradients of a batch and return its loss.

        Raises:
            NotFiniteError: When the loss is NaN or infinite.
        """

    def evaluated(self) -> AbstractContextManager[Any]:
        """Let the network be what is evaluated while training."""


class FreezeTrainer:
    """Levels one after another, see `ElsaStages`: a segment is a level."""

    one_process: ClassVar[bool] = False

    def __init__(self, stages: ElsaStages) -> None:
        self.levels = stages
        self._attach: Callable[[torch.optim.Optimizer], None] | None = None

    def segments(self) -> Iterator[tuple[int, str]]:
        """Yield every level that is not finished."""
        for stage in self.levels:
            self._attach = stage.attach
            yield stage.level, stage.name

    def parameters(self) -> list[Any]:
        """Return all parameters; the stage holds what must not change."""
        return list(self.levels.model.parameters())

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Hook the level into its optimiser."""
        assert self._attach is not None
        self._attach(optimizer)

    def backward(self, closure: Closure, scaler: Any = None) -> float:
        """Run the closure once."""
        loss, _ = closure()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NotFiniteError("The loss is NaN or infinite", fix="Lower the learning rate")
        scaled: Any = loss if scaler is None else scaler.scale(loss)
        scaled.backward()
        return value

    def evaluated(self) -> AbstractContextManager[Any]:
        """The network is its level while it is trained."""
        return contextlib.nullcontext()


class JointTrainer:
    """All levels at once, see `JointLevels`: one segment."""

    one_process: ClassVar[bool] = True

    def __init__(self, joint: JointLevels) -> None:
        self.levels = joint

    def segments(self) -> Iterator[tuple[int, str]]:
        """Yield the one training."""
        yield 0, "all levels"

    def parameters(self) -> list[Any]:
        """Return the shared weights and the tables."""
        return list(self.levels.parameters())

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Let masks move with the optimiser."""
        self.levels.attach(optimizer)

    def backward(self, closure: Closure, scaler: Any = None) -> float:  # noqa: ARG002 - one protocol
        """Run the closure at every level; half precision, and with it a scaler, is refused with the configuration."""
        return self.levels.backward(closure)

    def evaluated(self) -> AbstractContextManager[Any]:
        """The densest level is evaluated."""
        return self.levels.at_level(len(self.levels.ladder) - 1)
