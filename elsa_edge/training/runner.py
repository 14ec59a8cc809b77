"""`elsa-edge train` without its command line: a resumable training loop around ELSA stages or the joint trainer.

The state (network, optimiser, masks, random numbers, place in the data) is written atomically every epoch and
every `save_every_s` seconds; a run that was killed at any moment goes on from there and ends with the same
bits as one that was not. Under torchrun every process holds the same masks and tables. Launcher library:
Accelerate, because it reads torchrun's environment by itself, wraps any loop without owning it, and adds few
packages; Lightning Fabric would bring its own launcher and strategy objects for the same service.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import CheckpointError, NotFiniteError, RuntimeUnavailableError, UsageError
from elsa_edge.factory import build_model
from elsa_edge.files import atomic_file
from elsa_edge.training.config import TrainConfig
from elsa_edge.training.joint import JointLevels
from elsa_edge.training.logs import Log, open_log
from elsa_edge.training.setup import make_optimizer, make_trainer
from elsa_edge.training.task import Task, call_model, load_task, to_device
from elsa_edge.training.trainers import Closure

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
        epoch: Which epoch of the segment has just been evaluated; None between evaluations.
    """

    step: int
    steps: int
    segment: str
    loss: float
    accuracy: float | None
    epoch: int | None = None


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
        self.trainer = make_trainer(config, self.model, self.steps_per_epoch)
        self.levels = self.trainer.levels
        if self.trainer.one_process and self.shares > 1:
            raise UsageError(
                "The joint trainer runs in one process", fix="Use trainer: freeze under torchrun"
            )
        self.wrapped = self.accelerator.prepare(self.model) if self.shares > 1 else self.model
        self._seed(1 + self.share)
        self._saved_at = time.monotonic()
        self._started = time.monotonic()

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

    @property
    def state_path(self) -> Path:
        """Where the state is kept."""
        return self.folder / "state.pt"

    def save(self, optimizer: torch.optim.Optimizer) -> None:
        """Write the state, unless the weights are no numbers."""
        import torch

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
        import torch

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

    def _step(self, optimizer: torch.optim.Optimizer, batch: Any) -> float:
        """Train one batch, in `accumulate` parts; return its loss."""
        from torch.nn.utils import clip_grad_norm_

        config = self.config
        optimizer.zero_grad()
        loss_sum = 0.0
        for part in range(config.accumulate):
            last = part == config.accumulate - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                closure = self._closure(_part(batch, part, config.accumulate))
                try:
                    loss_sum += self.trainer.backward(closure, self.scaler)
                except NotFiniteError as error:
                    raise self._with_place(error) from error
        if config.clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)
            clip_grad_norm_(
                [p for group in optimizer.param_groups for p in group["params"]], config.clip_norm
            )
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
        return loss_sum

    def _closure(self, batch: Any) -> Closure:
        """Return what runs the network on a part of a batch: its share of the loss, and the outputs."""
        inputs, targets = to_device(batch, self.device)

        def closure() -> tuple[torch.Tensor, Any]:
            with self.autocast():
                outputs = call_model(self.wrapped, inputs)
                return self.task.loss(outputs, targets) / self.config.accumulate, outputs

        return closure

    def _with_place(self, error: NotFiniteError) -> NotFiniteError:
        """Return the error with where it happened and what is kept."""
        kept = f"; the last good state is in {self.state_path}" if self.state_path.is_file() else ""
        return NotFiniteError(
            f"{error.problem} in segment {self.place.segment}, epoch {self.place.epoch}, "
            f"batch {self.place.batch}{kept}",
            fix="Lower the learning rate, warm up longer, or clip gradients (clip_norm)",
        )

    def train_segment(self, name: str, optimizer: torch.optim.Optimizer, log: Log) -> None:
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
            with self.trainer.evaluated():
                self.accuracy = self.evaluate()
            row = {
                "segment": name, "epoch": place.epoch, "loss": loss, "accuracy": self.accuracy, "lr": rate,
                "seconds": round(place.seconds + time.monotonic() - self._started, 3),
            }  # fmt: skip
            place.history.append(row)
            log.write(row)
            self.save(optimizer)
            done = done_before + place.epoch * self.steps_per_epoch
            self.progress(Event(done, all_steps, name, loss, self.accuracy, place.epoch))


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


def _train(run: _Run, log: Log) -> None:
    """Train every segment, from where the run is."""
    state = run.load()
    for segment, name in run.trainer.segments():
        if segment != run.place.segment:
            run.place.segment, run.place.epoch, run.place.batch = segment, 0, 0
        optimizer = make_optimizer(run.config.optimizer, run.trainer.parameters())
        run.trainer.attach(optimizer)
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
            state = None
        run.train_segment(name, optimizer, log)


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
        restart: Forget the state of a run that was killed, and replace a result of another configuration.
        progress: Called after each step.

    Returns:
        The checkpoint, with the accuracy and FLOPs fraction of every level in its ladder.

    Raises:
        UsageError: When the configuration is wrong, or the output or the state beside it is of another one.
        NotFiniteError: When the loss is NaN; the last good state stays.
    """
    try:
        import accelerate  # noqa: F401 - asked for early, for a clear sentence
    except ImportError as error:
        raise RuntimeUnavailableError(
            "Training needs the package accelerate", fix="pip install 'elsa-edge[train]'"
        ) from error
    import torch

    from elsa_edge.training.flops import flops_fractions

    if not restart:
        _refuse_to_replace(config, output)
    folder = output.with_name(output.name + ".run")
    folder.mkdir(parents=True, exist_ok=True)
    if restart:
        (folder / "state.pt").unlink(missing_ok=True)
    run = _Run(config, folder, progress)
    resumed = run.state_path.is_file()
    with open_log(config.log, folder, resumed=resumed, active=run.accelerator.is_main_process) as log:
        _train(run, log)
    accuracies = []
    for level in range(len(config.ladder)):
        with run.levels.at_level(level):
            accuracies.append(run.evaluate())
    facts = {
        "config": config.model_dump(mode="json"), "history": run.place.history, "processes": run.shares,
        "method": config.method.name, "torch": torch.__version__,
    }  # fmt: skip
    if config.switch_points and isinstance(run.levels, JointLevels):
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


def _refuse_to_replace(config: TrainConfig, output: Path) -> None:
    """Refuse an output that exists and that this configuration did not make.

    Raises:
        UsageError: Saying so.
    """
    if not output.exists():
        return
    try:
        own = config.made(NestedCheckpoint.load(output).provenance)
    except CheckpointError:
        own = False
    if not own:
        raise UsageError(
            f"{output} exists and was not made with this configuration",
            fix="Choose another output, or give --restart to replace it",
        )


def _switch_points(run: _Run) -> list[dict[str, Any]]:
    """Measure the network that begins at the densest level and goes on at the sparsest, for each place to switch."""
    from elsa_edge.training.rerouting import switch_vectors

    joint = run.levels
    assert isinstance(joint, JointLevels)
    measured = []
    for vector in switch_vectors(joint.depth, len(run.config.ladder) - 1, 0):
        with joint.rerouted(vector):
            measured.append({"levels": vector, "accuracy": run.evaluate()})
    return measured


def _compressed(checkpoint: NestedCheckpoint) -> Any:
    from elsa_edge.training.asni_init import CompressedInit

    sparsest = checkpoint.at_level(0)
    return CompressedInit.of({name: sparsest[name] for name in checkpoint.indices})
