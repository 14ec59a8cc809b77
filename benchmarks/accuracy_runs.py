"""The trainings behind `python -m benchmarks.accuracy`: settings, one training loop, one function per experiment.

Each experiment takes a setting and a seed and returns rows; nothing here knows about tables or claims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from elsa_edge.factory import build_model
from elsa_edge.sparsify.norms import evaluating
from elsa_edge.training import (
    ASNI,
    HALO,
    CompressedInit,
    ElsaStages,
    FixedMask,
    GradualMagnitude,
    JointLevels,
    Nesting,
    OneShotMagnitude,
    elsa_stages,
)
from elsa_edge.training.flops import flops_fractions
from elsa_edge.training.sparsifiers import Sparsifier
from elsa_edge.training.task import Task, call_model, load_task, to_device

__all__ = ["EXPERIMENTS", "SETTINGS", "Row", "Setting"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """A network, its data and how long it is trained.

    Attributes:
        model: Factory.
        data: Factory.
        epochs: Of each level.
        batch_size: Samples per step.
        adam: AdamW instead of SGD with momentum 0.9.
        lr: Peak of a cosine schedule with warm-up over a tenth.
        weight_decay: Of the optimiser.
        sparsities: The ladder of the ELSA experiment.
        init: Where free weights start.
    """

    model: str
    data: str
    epochs: int
    batch_size: int = 128
    adam: bool = False
    lr: float = 0.1
    weight_decay: float = 5e-4
    sparsities: tuple[float, ...] = (0.95, 0.9, 0.0)
    init: str = "donor"


SETTINGS = {
    "cnn": Setting("examples.cnn:tiny", "examples.cnn:fashion", 1),
    "cnn-half": Setting("examples.cnn:tiny", "examples.cnn:fashion_half", 2),
    "graph": Setting(
        "examples.graph:gat",
        "examples.graph:package_sections",
        8,
        64,
        adam=True,
        lr=0.005,
        weight_decay=0.02,
        sparsities=(0.9, 0.75, 0.0),
    ),
    "digits": Setting("examples.cnn:small", "examples.cnn:handwritten", 10, 64),
    "dense-digits": Setting(
        "examples.cnn:lenet_300_100",
        "examples.cnn:handwritten",
        12,
        60,
        adam=True,
        lr=1.2e-3,
        weight_decay=0.0,
    ),
    "cnn-full": Setting("examples.cnn:resnet20", "examples.cnn:fashion", 30),
}

_DEVICE = torch.device(
    str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "cpu"
)
_tasks: dict[str, Task] = {}


def task_of(setting: Setting) -> Task:
    """Return the data of a setting, loaded once."""
    if setting.data not in _tasks:
        _tasks[setting.data] = load_task(setting.data)
    return _tasks[setting.data]


def fresh(setting: Setting, seed: int) -> nn.Module:
    """Return the setting's network with the first weights of a seed."""
    torch.manual_seed(seed)
    return build_model(setting.model).to(_DEVICE)


def steps_of(setting: Setting) -> int:
    """Return the optimiser steps of one level."""
    return setting.epochs * task_of(setting).steps(setting.batch_size)


def optimizer_of(setting: Setting, parameters: Any) -> torch.optim.Optimizer:
    """Return the setting's optimiser."""
    if setting.adam:
        return torch.optim.AdamW(parameters, lr=setting.lr, weight_decay=setting.weight_decay)
    return torch.optim.SGD(parameters, lr=setting.lr, momentum=0.9, weight_decay=setting.weight_decay)


def loop(
    setting: Setting,
    optimizer: torch.optim.Optimizer,
    seed: int,
    backward: Callable[[Any, Any], None],
    model: nn.Module,
) -> None:
    """Run the epochs of one level:

    the order of the data depends on seed and epoch only, the same for every method.
    """
    task, total, step = task_of(setting), steps_of(setting), 0
    model.train()
    for epoch in range(setting.epochs):
        for batch in task.batches(setting.batch_size, seed * 1000 + epoch):
            inputs, targets = to_device(batch, _DEVICE)
            progress = step / total
            factor = (
                progress / 0.1 if progress < 0.1 else 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))
            )
            for group in optimizer.param_groups:
                group["lr"] = setting.lr * max(factor, 1e-3)
            optimizer.zero_grad()
            backward(inputs, targets)
            optimizer.step()
            step += 1


def accuracy(setting: Setting, model: nn.Module) -> float:
    """Return the accuracy on the test set, in per cent."""
    right, count = 0.0, 0
    with evaluating(model), torch.no_grad():
        for batch in task_of(setting).test_batches():
            inputs, targets = to_device(batch, _DEVICE)
            right += float((call_model(model, inputs).argmax(-1) == targets).sum())
            count += len(targets)
    return 100.0 * right / count


def train_levels(
    setting: Setting,
    seed: int,
    sparsities: Sequence[float],
    sparsifier: Sparsifier | Callable[[int], Sparsifier] | None = None,
    model: nn.Module | None = None,
    **options: Any,
) -> tuple[ElsaStages, list[float]]:
    """Train a ladder with ELSA stages; a ladder of one level is an ordinary sparse training."""
    network = fresh(setting, seed) if model is None else model
    chosen = sparsifier or GradualMagnitude(steps_of(setting))
    nesting = Nesting(**{"init": setting.init, "seed": seed, **options})
    stages = elsa_stages(network, list(sparsities), sparsifier=chosen, nesting=nesting)
    task = task_of(setting)

    def backward(inputs: Any, targets: Any) -> None:
        loss: torch.Tensor = task.loss(call_model(network, inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types

    for stage in stages:
        optimizer = optimizer_of(setting, network.parameters())
        stage.attach(optimizer)
        loop(setting, optimizer, seed, backward, network)
    found = []
    for level in range(len(sparsities)):
        with stages.at_level(level):
            found.append(accuracy(setting, network))
    return stages, found


def elsa(setting: Setting, seed: int) -> list[Row]:
    """ELSA's levels beside separately trained networks of the same sparsity, sparsifier, schedule and seed."""
    _, nested = train_levels(setting, seed, setting.sparsities)
    rows = []
    for level, sparsity in enumerate(setting.sparsities):
        _, (alone,) = train_levels(setting, seed, [sparsity])
        rows.append(
            {"variant": f"level {level}", "sparsity": sparsity, "accuracy": nested[level], "separate": alone}
        )
    return rows


def inits(setting: Setting, seed: int) -> list[Row]:
    """ELSA with every way to start the free weights, and with shared norm layers."""
    rows = []
    tried: tuple[dict[str, Any], ...] = (
        {"init": "donor"},
        {"init": "zero"},
        {"init": "kaiming"},
        {"init": "rewind"},
        {"norms": "recalibrate"},
        {"norms": "frozen_shared"},
    )
    for options in tried:
        _, found = train_levels(setting, seed, setting.sparsities, **options)
        for level, sparsity in enumerate(setting.sparsities):
            name = next(iter(options.values()))
            rows.append({"variant": f"{name} level {level}", "sparsity": sparsity, "accuracy": found[level]})
    return rows


def halo(setting: Setting, seed: int) -> list[Row]:
    """HALO at 95 % against magnitude: in one shot without fine-tuning, and gradual."""
    steps = steps_of(setting)
    methods: dict[str, Sparsifier] = {
        "one-shot magnitude, no fine-tuning": OneShotMagnitude(steps),
        "gradual magnitude": GradualMagnitude(steps),
        "HALO, no fine-tuning": HALO(steps, xi=3e-4, psi=0.0, weight_decay=1e-2),
        "HALO, mask fixed for the last quarter": HALO(steps, xi=1e-4, psi=0.0, weight_decay=1e-2, end=0.75),
    }
    rows = []
    for name, method in methods.items():
        _, (found,) = train_levels(setting, seed, [0.95], method)
        rows.append({"variant": name, "sparsity": 0.95, "accuracy": found})
    return rows


def asni(setting: Setting, seed: int) -> list[Row]:
    """ASNI-I, its mask with the original start, ASNI-II, and dense:

    the shape of table 4.4 of the paper's logs.
    """
    sparsity = 0.95
    _, (dense,) = train_levels(setting, seed, [0.0])
    model = fresh(setting, seed)
    first = {name: value.clone() for name, value in model.state_dict().items()}
    sigmoid = ASNI(setting.epochs, task_of(setting).steps(setting.batch_size))
    stages, (one,) = train_levels(setting, seed, [sparsity], sigmoid, model)
    weights = {n: p.detach().cpu().numpy().copy() for n, p in stages.parameters.items()}
    start = CompressedInit.of(weights)
    masks = {n: m.to(_DEVICE) for n, m in start.apply(model).items()}
    _, (two,) = train_levels(setting, seed, [sparsity], FixedMask(masks), model)
    model.load_state_dict(first)
    _, (same,) = train_levels(setting, seed, [sparsity], FixedMask(masks), model)
    names = ("dense", "ASNI-I", "same mask, original start", "ASNI-II")
    return [
        {"variant": name, "sparsity": 0.0 if name == "dense" else sparsity, "accuracy": found}
        for name, found in zip(names, (dense, one, same, two), strict=True)
    ]


def train_joint(setting: Setting, seed: int, sparsities: Sequence[float], model: nn.Module) -> JointLevels:
    """Train all levels of a fresh network at once, the denser ones teaching the sparser, and return them."""
    joint = JointLevels(
        model, sparsities, steps=steps_of(setting), distillation=0.5, nesting=Nesting(seed=seed)
    )
    optimizer = optimizer_of(setting, joint.parameters())
    joint.attach(optimizer)
    task = task_of(setting)

    def backward(inputs: Any, targets: Any) -> None:
        def closure() -> tuple[torch.Tensor, torch.Tensor]:
            outputs = call_model(model, inputs)
            return task.loss(outputs, targets), outputs

        joint.backward(closure)

    loop(setting, optimizer, seed, backward, model)
    return joint


def multilevel(setting: Setting, seed: int) -> list[Row]:
    """Two levels with 5.38 % and 13.38 % of the weights by both trainers, beside the dense network."""
    sparsities = (0.9462, 0.8662)
    _, (dense,) = train_levels(setting, seed, [0.0])
    stages, frozen = train_levels(setting, seed, sparsities)
    model = fresh(setting, seed)
    joint = train_joint(setting, seed, sparsities, model)
    together = []
    for level in range(2):
        with joint.at_level(level):
            together.append(accuracy(setting, model))
    inputs, _ = to_device(next(task_of(setting).test_batches(2)), _DEVICE)
    rows: list[Row] = [{"variant": "dense", "sparsity": 0.0, "accuracy": dense, "flops_fraction": 1.0}]
    trainers: tuple[tuple[str, Any, list[float]], ...] = (
        ("freeze", stages, frozen),
        ("joint", joint, together),
    )
    for name, trained, found in trainers:
        checkpoint = trained.checkpoint()
        flops = flops_fractions(model, (inputs,), checkpoint.indices, 2)
        rows += [
            {
                "variant": f"{name} level {level}",
                "sparsity": sparsities[level],
                "density": checkpoint.densities[level],
                "flops_fraction": flops[level],
                "accuracy": found[level],
                "relative_loss": 100.0 * (dense - found[level]) / dense,
            }
            for level in range(2)
        ]
    return rows


def granularity(setting: Setting, seed: int) -> list[Row]:
    """Unstructured, blocks of four output channels, 1:4 and channels at the same sparsity."""
    rows = []
    for name in ("unstructured", "block", "1:4", "channel"):
        stages, (found,) = train_levels(setting, seed, [0.75], granularity=name)
        density = stages.checkpoint().densities[0]
        rows.append({"variant": name, "sparsity": 0.75, "density": density, "accuracy": found})
    return rows


EXPERIMENTS: dict[str, Callable[[Setting, int], list[Row]]] = {
    "elsa": elsa,
    "inits": inits,
    "halo": halo,
    "asni": asni,
    "multilevel": multilevel,
    "granularity": granularity,
}
