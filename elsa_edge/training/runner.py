"""`elsa-edge train` without its command line: a resumable training loop around ELSA stages or the joint trainer.

The state (network, optimiser, masks, random numbers, place in the data) is written atomically every epoch and
every `save_every_s` seconds; a run that was killed at any moment goes on from there and ends with the same
bits as one that was not. Under torchrun every process holds the same masks and tables. Launcher library:
Accelerate, because it reads torchrun's environment by itself, wraps any loop without owning it, and adds few
packages; Lightning Fabric would bring its own launcher and strategy objects for the same service.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import CheckpointError, ElsaError, RuntimeUnavailableError, UsageError
from elsa_edge.factory import build_model
from elsa_edge.files import atomic_file
from elsa_edge.training.config import TrainConfig
from elsa_edge.training.logs import Log, open_log
from elsa_edge.training.setup import make_levels, make_optimizer
from elsa_edge.training.task import Task, call_model, load_task, to_device

if TYPE_CHECKING:
    import torch

__all__ = ["Event", "run_training"]


@dataclass(frozen=True, slots=True)
class Event:
    """Where a training is, for a progress bar.

    Attributes:
        step: Optimiser steps done of `steps`, over all levels.
        steps: All optimiser steps.
        segment: Name of the level in training, or "all levels".
        loss: Of the last batch.
        accuracy: Of the last evaluation; None before the first.
    """

    step: int
    steps: int
    segment: str
    loss: float
    accuracy: float | None


@dataclass
class _Place:
    """How far a training is; goes into the state file."""

    segment: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class _Run:
    """One training from its first or a later step to its end."""

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
                "The batch does not divide", expected=f"a multiple of {config.accumulate} x {self.shares} processes",
                found=config.batch_size,
            )  # fmt: skip
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
        self.place = _Place()
        self.accuracy: float | None = None
        self.levels = make_levels(config, self.model, self.steps_per_epoch)
        self.wrapped = self.accelerator.prepare(self.model) if self.shares > 1 else self.model
        self._seed(1 + self.share)
        self._saved_at = time.monotonic()
        self._started = time.monotonic()
        self.torch = torch

    def _seed(self, offset: int) -> None:
        import torch

        seed = self.config.seed * 1009 + offset
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - the user's own transforms may draw from numpy's global source
        torch.manual_seed(seed)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which the network computes at the configured precision."""
        kind = {"bf16": self.torch.bfloat16, "fp16": self.torch.float16}.get(self.config.precision)
        return contextlib.nullcontext() if kind is None else self.torch.autocast(self.device.type, kind)

    @property
    def state_path(self) -> Path:
        """Where the state is kept."""
        return self.folder / "state.pt"

    def save(self, optimizer: torch.optim.Optimizer) -> None:
        """Write the state, unless the weights are no numbers."""
        torch = self.torch
        self._saved_at = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            return
        self.place.seconds += time.monotonic() - self._started
        self._started = time.monotonic()
        state = {
            "config": self.config.digest(), "place": asdict(self.place), "model": self.model.state_dict(),
            "levels": self.levels.state_dict(), "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(), "accuracy": self.accuracy,
        }  # fmt: skip
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        with atomic_file(self.state_path) as temporary:
            torch.save(state, temporary)

    def load(self) -> dict[str, Any] | None:
        """Read the state of a run that was killed; None where there is none.

        Raises:
            UsageError: When it is of another configuration.
            CheckpointError: When it is damaged.
        """
        torch = self.torch
        if not self.state_path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.state_path, map_location=self.device, weights_only=True)
            digest = state["config"]
        except Exception as error:
            raise CheckpointError(
                f"The saved training {self.state_path} is damaged", fix="Remove it to start anew"
            ) from error
        if digest != self.config.digest():
            raise UsageError(
                f"The training in {self.folder} was begun with another configuration",
                fix="Go back to that one, choose another output, or give --restart",
            )
        self.model.load_state_dict(state["model"])
        self.levels.load_state_dict(state["levels"])
        self.place = _Place(**state["place"])
        self.accuracy = state["accuracy"]
        torch.set_rng_state(state["rng"].cpu())
        if self.scaler is not None and "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])
        return state

    def evaluate(self) -> float:
        """Return the mean metric of the network as it is, over the test set."""
        from elsa_edge.sparsify.norms import evaluating

        torch = self.torch
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

    def _step(self, optimizer: torch.optim.Optimizer, batch: Any) -> float:
        """Train one batch, in `accumulate` parts; return its loss."""
        config, accelerator = self.config, self.accelerator
        optimizer.zero_grad()
        if config.trainer == "joint":
            return self._joint_step(optimizer, batch)
        loss_sum = 0.0
        for part in range(config.accumulate):
            inputs, targets = to_device(_part(batch, part, config.accumulate), self.device)
            last = part == config.accumulate - 1
            guard = contextlib.nullcontext() if last else accelerator.no_sync(self.wrapped)
            with guard:
                with self.autocast():
                    loss = self.task.loss(call_model(self.wrapped, inputs), targets) / config.accumulate
                loss_sum += float(loss.detach())
                if not math.isfinite(loss_sum):
                    self._not_a_number()
                scaled: Any = loss if self.scaler is None else self.scaler.scale(loss)
                scaled.backward()
        if config.clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
        return loss_sum

    def _joint_step(self, optimizer: torch.optim.Optimizer, batch: Any) -> float:
        if self.shares > 1:
            raise UsageError(
                "The joint trainer runs in one process", fix="Use trainer: freeze under torchrun"
            )
        inputs, targets = to_device(batch, self.device)

        def closure() -> tuple[torch.Tensor, torch.Tensor]:
            outputs = call_model(self.model, inputs)
            return self.task.loss(outputs, targets), outputs

        try:
            loss = self.levels.backward(closure)  # type: ignore[union-attr]  # joint by the caller's check
        except ElsaError as error:
            if "NaN" in str(error):
                self._not_a_number()
            raise
        if self.config.clip_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            self.torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        optimizer.step()
        return loss

    def _not_a_number(self) -> None:
        kept = f"; the last good state is in {self.state_path}" if self.state_path.is_file() else ""
        raise ElsaError(
            f"The loss is NaN or infinite in segment {self.place.segment}, epoch {self.place.epoch}, "
            f"batch {self.place.batch}{kept}",
            fix="Lower the learning rate, warm up longer, or clip gradients (clip_norm)",
        )

    def train_segment(
        self, name: str, optimizer: torch.optim.Optimizer, log: Log, evaluate: Callable[[], float]
    ) -> None:
        """Run the epochs that are left of the segment in which the training is."""
        config, place = self.config, self.place
        epochs = config.epochs_of(place.segment)
        done_before = sum(config.epochs_of(s) for s in range(place.segment)) * self.steps_per_epoch
        all_steps = sum(config.epochs_of(s) for s in range(config.segments)) * self.steps_per_epoch
        self.wrapped.train()
        while place.epoch < epochs:
            order_seed = (config.seed * 1009 + place.segment) * 100_003 + place.epoch
            for batch in self.task.batches(
                config.batch_size, order_seed, start=place.batch, share=self.share, shares=self.shares
            ):
                step = place.epoch * self.steps_per_epoch + place.batch
                rate = config.optimizer.lr * config.schedule.factor(step / (epochs * self.steps_per_epoch))
                for group in optimizer.param_groups:
                    group["lr"] = rate
                loss = self._step(optimizer, batch)
                place.batch += 1
                self.progress(Event(done_before + step + 1, all_steps, name, loss, self.accuracy))
                if time.monotonic() - self._saved_at >= config.save_every_s > 0:
                    self.save(optimizer)
            place.epoch, place.batch = place.epoch + 1, 0
            self.accuracy = evaluate()
            row = {
                "segment": name, "epoch": place.epoch, "loss": loss, "accuracy": self.accuracy, "lr": rate,
                "seconds": round(place.seconds + time.monotonic() - self._started, 3),
            }  # fmt: skip
            place.history.append(row)
            log.write(row)
            self.save(optimizer)


def _part(batch: Any, part: int, parts: int) -> Any:
    """Return one of several equal parts of a batch of tensors, tuples or mappings."""
    if parts == 1:
        return batch
    if hasattr(batch, "shape"):
        size = batch.shape[0] // parts
        return batch[part * size : (part + 1) * size]
    if isinstance(batch, dict):
        return {key: _part(value, part, parts) for key, value in batch.items()}
    return type(batch)(_part(value, part, parts) for value in batch)


def _train_levels(run: _Run, log: Log) -> Iterator[None]:
    """Train every segment, from where the run is."""
    config = run.config
    state = run.load()
    if config.trainer == "joint":
        joint: Any = run.levels
        optimizer = make_optimizer(config.optimizer, joint.parameters())
        joint.attach(optimizer)
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])

        def densest() -> float:
            with joint.at_level(len(config.ladder) - 1):
                return run.evaluate()

        run.train_segment("all levels", optimizer, log, densest)
        yield
        return
    stages: Any = run.levels
    for stage in stages:
        if stage.level != run.place.segment:
            run.place.segment, run.place.epoch, run.place.batch = stage.level, 0, 0
        optimizer = make_optimizer(config.optimizer, run.model.parameters())
        stage.attach(optimizer)
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
            state = None
        run.train_segment(stage.name, optimizer, log, run.evaluate)
        yield


def run_training(
    config: TrainConfig,
    output: Path,
    *,
    restart: bool = False,
    progress: Callable[[Event], None] = lambda _event: None,
) -> NestedCheckpoint:
    """Train nested levels and write the nested checkpoint.

    Args:
        config: What to train.
        output: The `.safetensors` to write; state and log are kept in the folder `OUTPUT.run` beside it.
        restart: Forget the state of a run that was killed.
        progress: Called after each step.

    Returns:
        The checkpoint, with the accuracy and FLOPs fraction of every level in its ladder.

    Raises:
        UsageError: When the configuration is wrong, or the state beside the output is of another one.
        ElsaError: When the loss is NaN; the last good state stays.
    """
    try:
        import accelerate  # noqa: F401 - asked for early, for a clear sentence
    except ImportError as error:
        raise RuntimeUnavailableError(
            "Training needs the package accelerate", fix="pip install 'elsa-edge[train]'"
        ) from error
    from elsa_edge.training.flops import flops_fractions

    folder = output.with_name(output.name + ".run")
    folder.mkdir(parents=True, exist_ok=True)
    if restart:
        (folder / "state.pt").unlink(missing_ok=True)
    run = _Run(config, folder, progress)
    resumed = run.state_path.is_file()
    with open_log(config.log, folder, resumed=resumed, active=run.accelerator.is_main_process) as log:
        for _ in _train_levels(run, log):
            pass
    accuracies = []
    for level in range(len(config.ladder)):
        with run.levels.at_level(level):
            accuracies.append(run.evaluate())
    facts = {
        "config": config.model_dump(mode="json"), "history": run.place.history, "processes": run.shares,
        "method": config.method.name, "torch": run.torch.__version__,
    }  # fmt: skip
    if config.switch_points and config.trainer == "joint":
        facts["switch_points"] = _switch_points(run)
    checkpoint = run.levels.checkpoint(accuracies=accuracies, provenance=facts)
    inputs, _ = to_device(next(run.task.test_batches(2)), run.device)
    if not isinstance(inputs, dict):
        arguments = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        fractions = flops_fractions(run.model, arguments, checkpoint.indices, len(config.ladder))
        checkpoint = run.levels.checkpoint(accuracies=accuracies, flops_fractions=fractions, provenance=facts)
    if run.accelerator.is_main_process:
        checkpoint.save(output)
        if config.save_compressed_start is not None:
            _compressed(checkpoint).save(config.save_compressed_start)
        run.state_path.unlink(missing_ok=True)
    run.accelerator.wait_for_everyone()
    return checkpoint


def _switch_points(run: _Run) -> list[dict[str, Any]]:
    """Measure the network that begins at the densest level and goes on at the sparsest, for each place to switch."""
    from elsa_edge.training.rerouting import switch_vectors

    joint: Any = run.levels
    measured = []
    for vector in switch_vectors(joint.depth, len(run.config.ladder) - 1, 0):
        with joint.rerouted(vector):
            measured.append({"levels": vector, "accuracy": run.evaluate()})
    return measured


def _compressed(checkpoint: NestedCheckpoint) -> Any:
    from elsa_edge.training.asni_init import CompressedInit

    sparsest = checkpoint.at_level(0)
    return CompressedInit.of({name: sparsest[name] for name in checkpoint.indices})
