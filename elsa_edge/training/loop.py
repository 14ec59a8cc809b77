"""The epochs of one segment: a level of the freezer, or all levels of the joint trainer; steps, learning rate, log."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from elsa_edge.errors import NotFiniteError
from elsa_edge.training.logs import Log
from elsa_edge.training.run import Event, Run
from elsa_edge.training.run_state import save_state, state_path
from elsa_edge.training.task import call_model, to_device
from elsa_edge.training.trainers import Closure

if TYPE_CHECKING:
    import torch

__all__ = ["train_segment"]


def train_segment(run: Run, name: str, optimizer: torch.optim.Optimizer, log: Log) -> None:
    """Run the epochs that are left of the segment in which the training is."""
    config, place = run.config, run.place
    epochs = config.epochs_of(place.segment)
    done_before = sum(config.epochs_of(s) for s in range(place.segment)) * run.steps_per_epoch
    all_steps = sum(config.epochs_of(s) for s in range(config.segments)) * run.steps_per_epoch
    run.wrapped.train()
    while place.epoch < epochs:
        order_seed = (config.seed * 1009 + place.segment) * 100_003 + place.epoch
        for batch in run.task.batches(
            config.batch_size, order_seed, start=place.batch, share=run.share, shares=run.shares
        ):
            step = place.epoch * run.steps_per_epoch + place.batch
            rate = config.optimizer.lr * config.schedule.factor(step / (epochs * run.steps_per_epoch))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _step(run, optimizer, batch)
            place.batch += 1
            run.progress(Event(done_before + step + 1, all_steps, name, loss, run.accuracy))
            if time.monotonic() - run.saved_at >= config.save_every_s > 0:
                save_state(run, optimizer)
        place.epoch, place.batch = place.epoch + 1, 0
        with run.trainer.evaluated():
            run.accuracy = run.evaluate()
        row = {
            "segment": name,
            "epoch": place.epoch,
            "loss": loss,
            "accuracy": run.accuracy,
            "lr": rate,
            "seconds": round(place.seconds + time.monotonic() - run.started, 3),
        }
        place.history.append(row)
        log.write(row)
        save_state(run, optimizer)
        done = done_before + place.epoch * run.steps_per_epoch
        run.progress(Event(done, all_steps, name, loss, run.accuracy, place.epoch))


def _step(run: Run, optimizer: torch.optim.Optimizer, batch: Any) -> float:
    """Train one batch, in `accumulate` parts; return its loss."""
    from torch.nn.utils import clip_grad_norm_

    config = run.config
    optimizer.zero_grad()
    loss_sum = 0.0
    for part in range(config.accumulate):
        last = part == config.accumulate - 1
        with contextlib.nullcontext() if last else run.accelerator.no_sync(run.wrapped):
            closure = _closure(run, _part(batch, part, config.accumulate))
            try:
                loss_sum += run.trainer.backward(closure, run.scaler)
            except NotFiniteError as error:
                raise _with_place(run, error) from error
    if config.clip_norm is not None:
        if run.scaler is not None:
            run.scaler.unscale_(optimizer)
        clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], config.clip_norm)
    if run.scaler is None:
        optimizer.step()
    else:
        run.scaler.step(optimizer)
        run.scaler.update()
    return loss_sum


def _closure(run: Run, batch: Any) -> Closure:
    """Return what runs the network on a part of a batch: its share of the loss, and the outputs."""
    inputs, targets = to_device(batch, run.device)

    def closure() -> tuple[torch.Tensor, Any]:
        with run.autocast():
            outputs = call_model(run.wrapped, inputs)
            return run.task.loss(outputs, targets) / run.config.accumulate, outputs

    return closure


def _with_place(run: Run, error: NotFiniteError) -> NotFiniteError:
    """Return the error with where it happened and what is kept."""
    kept = f"; the last good state is in {state_path(run)}" if state_path(run).is_file() else ""
    return NotFiniteError(
        f"{error.problem} in segment {run.place.segment}, epoch {run.place.epoch}, "
        f"batch {run.place.batch}{kept}",
        fix="Lower the learning rate, warm up longer, or clip gradients (clip_norm)",
    )


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
