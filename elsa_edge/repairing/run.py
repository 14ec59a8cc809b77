"""Repair the levels of a nested checkpoint: the dense network teaches, the levels learn, no label is needed."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ElsaError, UsageError
from elsa_edge.repairing.augment import Arguments, Augmentation, augmentation_named, fitting_augmentation
from elsa_edge.repairing.checks import likeness, refuse_unlike
from elsa_edge.repairing.distance import outputs_of, sureness
from elsa_edge.repairing.group import Alone, group
from elsa_edge.repairing.records import Clock, LevelResult
from elsa_edge.repairing.samples import Samples
from elsa_edge.repairing.settings import RepairEvent, RepairSettings
from elsa_edge.repairing.sources import Source, source_of
from elsa_edge.repairing.state import RepairState
from elsa_edge.repairing.student import Student
from elsa_edge.repairing.teacher import Teacher, run
from elsa_edge.repairing.tune import LevelTuner
from elsa_edge.sparsify.data import offered
from elsa_edge.trained import load_arrays, plain_network

if TYPE_CHECKING:
    from torch import nn

__all__ = ["repair"]


def _nothing(_event: RepairEvent) -> None:
    """Tell nobody."""


def repair(
    checkpoint: NestedCheckpoint,
    model: nn.Module,
    data: Any,
    settings: RepairSettings | None = None,
    *,
    teacher: nn.Module | None = None,
    state: Path | None = None,
    progress: Callable[[RepairEvent], None] = _nothing,
) -> NestedCheckpoint:
    """Bring the sparse levels of a trained network near the dense one, on inputs without labels.

    Args:
        checkpoint: Levels as `sparsify` cut them.
        model: Their network; its numbers are overwritten.
        data: Inputs, see `elsa_edge.repairing.sources.source_of`.
        settings: How; None for the defaults.
        teacher: The network to imitate; None takes the densest level's own numbers where it is dense, else the
            checkpoint's weights without a mask.
        state: File to keep the work in, for going on after an interruption; removed in the end.
        progress: Called after each step.

    Returns:
        The repaired checkpoint. `provenance["repair"]` has the settings and, for each level, the agreement with the
        dense network on held-out inputs as cut, with BatchNorm re-estimated, and repaired. In mode `tables` every
        weight and the whole dense level are bit for bit those of `checkpoint`.

    Raises:
        InputError: When the inputs are too few, broken, do not fit, or look unlike the training inputs.
        UsageError: When the network has nothing to tune, or the batch does not divide by the processes.
        ElsaError: When time is out before the first look at the first level.

    Example:
        >>> import numpy, torch
        >>> from elsa_edge.sparsify import sparsify
        >>> network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
        >>> cut = sparsify(network, [0.8, 0.0])
        >>> inputs = numpy.random.default_rng(0).standard_normal((256, 8)).astype("float32")
        >>> repaired = repair(cut, network, inputs, RepairSettings(mode="weights", steps=20, check_every=10))
        >>> sorted(repaired.provenance["repair"]["levels"])
        ['dense', 's80']
    """
    chosen = RepairSettings() if settings is None else settings
    model = plain_network(model).float()
    load_arrays(model, checkpoint.weights)
    team = group()
    if chosen.batch_size % team.count or chosen.batch_size < 2 * team.count:
        raise UsageError(
            "The batch does not divide",
            expected=f"a multiple of {team.count} processes",
            found=chosen.batch_size,
        )
    device = team.device
    model.to(device).eval()
    dense = _dense(checkpoint, model) if teacher is None else plain_network(teacher).float().to(device).eval()
    _channels_last(model)
    _channels_last(dense)
    samples = _samples(source_of(model, data), dense, chosen, device)
    student = Student(model, checkpoint, chosen.mode)
    guide = Teacher(dense, samples, chosen, device)
    clock = Clock(None if chosen.minutes is None else 60.0 * chosen.minutes)
    facts_of_run = f"{samples.fingerprint()} {_fingerprint(dense)}"
    kept = RepairState.open(state, chosen, checkpoint, facts_of_run, writes=team.first)
    clock.spent_s = kept.spent_s
    told = progress if team.first else _nothing
    try:
        results = _levels(
            student, guide, samples, settings=chosen, kept=kept, clock=clock, progress=told, team=team
        )
    finally:
        student.release()
    facts = {
        "repair": {
            **chosen.plain(),
            "inputs": len(samples),
            "held_out_inputs": len(samples.held_out_places),
            "held_out_with_copies": guide.looked_at,
            "augmented": {"crop": samples.augmentation.crop, "flip": samples.augmentation.flip},
            "seconds": round(clock.elapsed_s, 1),
            "processes": team.count,
            "outputs": guide.distance.kinds,
            "levels": {checkpoint.ladder[k].name: asdict(found) for k, found in results.items()},
        }
    }
    repaired = student.result(facts, results)
    team.wait()
    kept.remove()
    load_arrays(model, repaired.weights)
    return repaired


def _fingerprint(network: nn.Module) -> int:
    """Return a number that differs where a network's numbers differ."""
    found = 0
    for tensor in network.state_dict().values():
        found = zlib.crc32(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes(), found)
    return found


def _channels_last(network: nn.Module) -> None:
    """Lay out the weights of convolutions as torch computes fastest with: a repair of images takes 2/3 of the time."""
    import torch

    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack this form


def _samples(source: Source, dense: nn.Module, settings: RepairSettings, device: Any) -> Samples:
    """Split the inputs, and settle how they are varied."""
    plain = Samples(source, held_out=settings.held_out, augmentation=Augmentation(), seed=settings.seed)
    _check_inputs(dense, plain, settings, device)
    if settings.augment != "auto":
        chosen = augmentation_named(settings.augment)
    else:
        some = plain.training(0, 0, min(256, len(plain.train_places)))
        chosen = fitting_augmentation(
            some, len(source), lambda arguments: sureness(outputs_of(_asked(dense, arguments, device))), 0
        )
    return Samples(source, held_out=settings.held_out, augmentation=chosen, seed=settings.seed)


def _asked(network: nn.Module, arguments: Arguments, device: Any) -> Any:
    import torch

    with torch.no_grad():
        return run(network, arguments, device)


def _dense(checkpoint: NestedCheckpoint, model: nn.Module) -> nn.Module:
    """Return a copy of the network with the dense numbers."""
    last = len(checkpoint.ladder) - 1
    full = all(bool((index <= last).all()) for index in checkpoint.indices.values())
    dense = copy.deepcopy(model)
    load_arrays(dense, checkpoint.at_level(last) if full else checkpoint.weights)
    return dense.eval()


def _check_inputs(dense: nn.Module, samples: Samples, settings: RepairSettings, device: Any) -> None:
    """Refuse inputs that the network does not take, or that cannot be what it was trained on."""
    batches = list(samples.calibration(min(64, settings.batch_size), most=256, least=0))
    with offered(batches[0]):
        _asked(dense, batches[0], device)
    if not settings.accept_inputs:
        refuse_unlike(likeness(dense, batches))


def _levels(
    student: Student,
    teacher: Teacher,
    samples: Samples,
    *,
    settings: RepairSettings,
    kept: RepairState,
    clock: Clock,
    progress: Callable[[RepairEvent], None],
    team: Alone,
) -> dict[int, LevelResult]:
    """Tune every level that needs it, sparsest first; levels for which no time is left stay as they were cut.

    In mode `weights` they cannot: weights below them have changed. They get statistics of their own, and are told of.
    """
    ladder = student.checkpoint.ladder
    todo = [level for level in range(len(ladder)) if student.needs_repair(level)]
    results = kept.begin(student)
    # A tenth of the time at most: what is not remembered is asked for again.
    teacher.remember(
        len(todo) - len(results),
        settings.steps,
        lambda: bool(team.decided(clock.limit_s is None or clock.elapsed_s < 0.1 * clock.limit_s)[0]),
    )
    for number, level in enumerate(todo):
        if level in results:
            continue
        left_s = team.decided(clock.left_s)[0]
        if left_s <= 0.0:
            if not results:
                raise ElsaError(
                    "The time was over before the first level was repaired; nothing was written",
                    fix="Give more --minutes, or fewer and smaller inputs",
                )
            if student.mode == "tables":
                break
        tuner = LevelTuner(
            student,
            level,
            teacher,
            samples,
            settings=settings,
            clock=clock,
            team=team,
            share_s=max(0.0, left_s) / (len(todo) - number),
        )
        if kept.tuner is not None:
            tuner.load_state(kept.tuner)
            kept.tuner = None

        def tell(
            step: int, steps: int, agreement: float, looked: bool, name: str = ladder[level].name
        ) -> None:
            progress(RepairEvent(name, step, steps, agreement, looked))

        def save(tuner: LevelTuner = tuner) -> None:
            kept.save(student, results, tuner, clock.elapsed_s)

        results[level] = tuner.tune(progress=tell, save=save)
        kept.save(student, results, None, clock.elapsed_s)
    return results
