"""One training: what it is made of, and its network judged on the test set.

Launcher library: Accelerate, because it reads torchrun's environment by itself, wraps any loop without owning it, and
adds few packages; Lightning Fabric would bring its own launcher and strategy objects for the same service.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from elsa_edge.errors import UsageError
from elsa_edge.factory import build_model
from elsa_edge.training.config import TrainConfig
from elsa_edge.training.setup import make_trainer
from elsa_edge.training.task import Task, call_model, load_task, to_device

__all__ = ["Event", "Place", "Run"]


@dataclass(frozen=True, slots=True)
class Event:
    """Where a training is, for a progress bar.

    Attributes:
        step: Optimiser steps done of `steps`, over all levels.
        steps: All optimiser steps.
        segment: Name of the level in training, or "all levels".
        loss: Of the last batch.
        accuracy: Of the last evaluation; None before the first.
        epoch: Which epoch of the segment has just been evaluated; None between evaluations.
    """

    step: int
    steps: int
    segment: str
    loss: float
    accuracy: float | None
    epoch: int | None = None


@dataclass
class Place:
    """How far a training is; goes into the state file."""

    segment: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class Run:
    """One training from its first or a later step to its end.

    Args:
        config: What to train.
        folder: Where state and log are kept.
        progress: Called after each step.

    Raises:
        UsageError: When batch, data, trainer and processes do not fit together.
    """

    def __init__(self, config: TrainConfig, folder: Path, progress: Callable[[Event], None]) -> None:
        import torch
        from accelerate import Accelerator

        self.config, self.folder, self.progress = config, folder, progress
        # Precision is ours: Accelerate fixes it once for the whole process.
        self.accelerator = Accelerator(mixed_precision="no", cpu=not torch.accelerator.is_available())
        self.scaler = None
        if config.precision == "fp16":
            self.scaler = torch.amp.GradScaler(self.accelerator.device.type)
        self.shares, self.share = self.accelerator.num_processes, self.accelerator.process_index
        if config.batch_size % (config.accumulate * self.shares):
            raise UsageError(
                "The batch does not divide",
                expected=f"a multiple of {config.accumulate} x {self.shares} processes",
                found=config.batch_size,
            )
        self.device = self.accelerator.device
        self._seed(0)
        self.model = build_model(config.model).to(self.device)
        if config.pretrained is not None:
            from elsa_edge.trained import load_dense

            load_dense(self.model, config.pretrained)
        self.task: Task = load_task(config.data, config.loss, config.metric)
        if len(self.task.train) < config.batch_size:
            raise UsageError("The train set is smaller than one batch", found=len(self.task.train))
        self.steps_per_epoch = self.task.steps(config.batch_size)
        self.place = Place()
        self.accuracy: float | None = None
        self.trainer = make_trainer(config, self.model, self.steps_per_epoch)
        self.levels = self.trainer.levels
        if self.trainer.one_process and self.shares > 1:
            raise UsageError(
                "The joint trainer runs in one process", fix="Use trainer: freeze under torchrun"
            )
        self.wrapped = self.accelerator.prepare(self.model) if self.shares > 1 else self.model
        self._seed(1 + self.share)
        self.saved_at = time.monotonic()
        self.started = time.monotonic()

    def _seed(self, offset: int) -> None:
        import torch

        seed = self.config.seed * 1009 + offset
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - the user's own transforms may draw from numpy's global source
        torch.manual_seed(seed)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which the network computes at the configured precision."""
        import torch

        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.config.precision)
        return contextlib.nullcontext() if kind is None else torch.autocast(self.device.type, kind)

    def evaluate(self) -> float:
        """Return the mean metric of the network as it is, over the test set."""
        import torch

        from elsa_edge.sparsify.norms import evaluating

        total, count = 0.0, 0
        with evaluating(self.model), torch.no_grad():
            for batch in self.task.test_batches():
                inputs, targets = to_device(batch, self.device)
                with self.autocast():
                    scores = self.task.metric(call_model(self.model, inputs), targets)
                size = scores.numel()
                samples = size if size > 1 else len(targets)
                total, count = total + float(scores.float().mean()) * samples, count + samples
        return total / count
