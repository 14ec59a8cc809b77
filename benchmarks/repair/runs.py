"""The repairs of ResNet-14 on Fashion-MNIST that are measured."""

from __future__ import annotations

import time
from typing import Any, Final

import torch
from torch import nn

from benchmarks.repair.kept import Row, state_of
from benchmarks.repair.teachers import Fashion, accuracy, fashion_images, resnet14_trained
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.repairing import RepairSettings, repair
from elsa_edge.repairing.augment import Augmentation
from elsa_edge.repairing.samples import Samples
from elsa_edge.repairing.sources import source_of
from elsa_edge.sparsify import sparsify
from elsa_edge.trained import load_arrays

__all__ = ["cut_resnet", "repaired_resnet"]

INPUTS: Final = 8192


def _judged(data: Fashion, judge: str) -> tuple[Any, Any]:
    return data.test if judge == "test" else data.validation


def _accuracies(model: nn.Module, checkpoint: NestedCheckpoint, labelled: tuple[Any, Any]) -> list[float]:
    found = []
    for level in range(len(checkpoint.ladder)):
        load_arrays(model, checkpoint.at_level(level))
        found.append(accuracy(model, *labelled))
    return found


def cut_resnet(*, ladder: tuple[float, ...], granularity: str) -> list[Row]:
    """Cut the network and re-estimate BatchNorm; accuracies are on the test set.

    Args:
        ladder: Sparsities.
        granularity: What is cut together.
    """
    data, model = fashion_images(), resnet14_trained()
    cut = sparsify(model, ladder, granularity=granularity)
    as_cut = _accuracies(model, cut, data.test)
    load_arrays(model, cut.weights)
    samples = Samples(
        source_of(model, data.images[:INPUTS]), held_out=0.1, augmentation=Augmentation(), seed=0
    )
    calibration = [(arguments,) for arguments, _ in samples.calibration(128)]
    normed = sparsify(model, ladder, granularity=granularity, data=calibration)
    with_norms = _accuracies(model, normed, data.test)
    return [
        {
            "granularity": granularity,
            "sparsity": level.sparsity,
            "as_cut": as_cut[k],
            "batch_norm": with_norms[k],
        }
        for k, level in enumerate(cut.ladder)
    ]


def repaired_resnet(
    *,
    mode: str,
    ladder: tuple[float, ...],
    granularity: str,
    seed: int,
    steps: int,
    rate: float | None = None,
    judge: str = "test",
    features: tuple[str, ...] = (),
) -> list[Row]:
    """Cut the network and repair it on unlabelled images.

    Args:
        mode: `tables` or `weights`.
        ladder: Sparsities.
        granularity: What is cut together.
        seed: Of which images are taken, what is held out, their order.
        steps: Optimiser steps a level.
        rate: Learning rate; None for the default of the mode.
        judge: `test`, or `validation` where settings are chosen.
        features: Modules to imitate, too.
    """
    asked = {
        "mode": mode,
        "ladder": ladder,
        "granularity": granularity,
        "seed": seed,
        "steps": steps,
        "rate": rate,
        "features": features,
    }
    data, model = fashion_images(), resnet14_trained()
    labelled = _judged(data, judge)
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))
    dense = accuracy(model, *labelled)
    cut = sparsify(model, ladder, granularity=granularity)
    began_cpu, began = time.process_time(), time.monotonic()
    settings = RepairSettings(mode=mode, steps=steps, seed=seed, learning_rate=rate, features=features)
    made = repair(cut, model, data.images[order[:INPUTS]], settings, state=state_of(**asked))
    cpu_s, wall_s = time.process_time() - began_cpu, time.monotonic() - began
    after = _accuracies(model, made, labelled)
    told = made.provenance["repair"]["levels"]
    return [
        {
            "mode": mode,
            "granularity": granularity,
            "sparsity": level.sparsity,
            "seed": seed,
            "asked_steps": steps,
            "steps": told.get(level.name, {}).get("steps", 0),
            "rate": settings.rate,
            "dense": dense,
            "repaired": after[k],
            "cpu_s": cpu_s / max(1, len(told)),
            "wall_s": wall_s / max(1, len(told)),
            "weights_kept": _weights_kept(cut, made),
        }
        for k, level in enumerate(made.ladder)
    ]


def _weights_kept(before: NestedCheckpoint, after: NestedCheckpoint) -> bool:
    return all(before.weights[name].tobytes() == after.weights[name].tobytes() for name in before.indices)
