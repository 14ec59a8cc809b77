"""From a training file's words to objects: sparsifiers, optimisers, ELSA stages or the joint trainer."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from elsa_edge.errors import UnknownNameError, UsageError
from elsa_edge.levels import Ladder
from elsa_edge.training.config import OptimizerConfig, TrainConfig
from elsa_edge.training.nesting import Nesting
from elsa_edge.training.trainers import FreezeTrainer, JointTrainer, Trainer

if TYPE_CHECKING:
    import torch
    from torch import nn

    from elsa_edge.training.sparsifiers import Sparsifier

__all__ = ["make_optimizer", "make_sparsifier", "make_trainer", "nesting_of"]


def make_sparsifier(config: TrainConfig, segment: int, steps_per_epoch: int) -> Sparsifier:
    """Make the sparsifier of a level; steps, epochs and the learning rate come from the configuration.

    Raises:
        UnknownNameError: When there is no method of that name.
        UsageError: When it has no such option.
    """
    from elsa_edge.training.sparsifiers import SPARSIFIERS

    name, options = config.method.name, config.method.options
    if name not in SPARSIFIERS:
        raise UnknownNameError("method", name, SPARSIFIERS)
    kind = SPARSIFIERS[name]
    parameters = inspect.signature(kind).parameters
    epochs = config.epochs_of(segment)
    given = {
        "steps": epochs * steps_per_epoch,
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "learning_rate": config.optimizer.lr,
    }
    unknown = [option for option in options if option not in parameters or option in given]
    if unknown:
        raise UsageError(
            f"The method {name} has no option {unknown[0]!r}",
            allowed=[p for p in parameters if p not in given],
        )
    return kind(**{key: value for key, value in given.items() if key in parameters}, **options)


def make_optimizer(chosen: OptimizerConfig, parameters: Any) -> torch.optim.Optimizer:
    """Make the optimiser of one segment."""
    import torch

    if chosen.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=chosen.lr,
            momentum=chosen.momentum,
            weight_decay=chosen.weight_decay,
            nesterov=chosen.nesterov,
        )
    kind = torch.optim.Adam if chosen.name == "adam" else torch.optim.AdamW
    return kind(parameters, lr=chosen.lr, weight_decay=chosen.weight_decay)


def nesting_of(config: TrainConfig) -> Nesting:
    """Return how levels lie in the network, from the keys of the file.

    Raises:
        UsageError: When a name does not exist.
    """
    return Nesting(
        granularity=config.granularity,
        allocation=config.allocation,
        include=config.include,
        exclude=config.exclude,
        norms=config.norms,
        per_level=config.per_level,
        per_level_head=config.per_level_head,
        init=config.init,
        seed=config.seed,
    )


def make_trainer(config: TrainConfig, model: nn.Module, steps_per_epoch: int) -> Trainer:
    """Make what trains the levels; a compressed start is applied to the network.

    Raises:
        ElsaError: When names, options or files are wrong.
    """
    ladder = Ladder.from_sparsities(list(config.ladder))
    make = _joint if config.trainer == "joint" else _freeze
    return make(config, model, ladder, steps_per_epoch)


def _joint(config: TrainConfig, model: nn.Module, ladder: Ladder, steps_per_epoch: int) -> JointTrainer:
    from elsa_edge.training.joint import JointLevels

    options = config.method.options
    allowed = ("end", "every", "weights")
    unknown = [name for name in options if name not in allowed]
    if unknown:
        raise UsageError(f"The joint trainer has no option {unknown[0]!r}", allowed=allowed)
    joint = JointLevels(
        model,
        ladder,
        steps=config.epochs_of(0) * steps_per_epoch,
        distillation=config.distillation,
        switch_points=config.switch_points,
        nesting=nesting_of(config),
        **options,
    )
    return JointTrainer(joint)


def _freeze(config: TrainConfig, model: nn.Module, ladder: Ladder, steps_per_epoch: int) -> FreezeTrainer:
    from elsa_edge.training.stages import elsa_stages

    masks = None
    if config.compressed_start is not None:
        from elsa_edge.training.asni_init import CompressedInit

        masks = CompressedInit.load(config.compressed_start).apply(model)

    def sparsifier(segment: int) -> Sparsifier:
        if masks is not None and segment == 0:
            from elsa_edge.training.sparsifiers import FixedMask

            return FixedMask(masks)
        return make_sparsifier(config, segment, steps_per_epoch)

    for segment in range(config.segments):
        sparsifier(segment)  # wrong options are found now, not after hours
    return FreezeTrainer(elsa_stages(model, ladder, sparsifier=sparsifier, nesting=nesting_of(config)))
