"""What `elsa-edge train` reads: one YAML file with the network, the data, the ladder, the method and the schedule.

    model: examples.cnn:small        trainer: freeze      batch_size: 128
    data: examples.cnn:fashion       epochs: 4            optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
    ladder: [0.95, 0.9, 0]           seed: 0              method: {name: gradual-magnitude, end: 0.75}

Every key is checked before torch is loaded; a misspelt one is answered with its line and the nearest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from elsa_edge.errors import LevelError, ProfileError, UsageError, closest
from elsa_edge.levels import Ladder
from elsa_edge.profiles.source import Source, parse

__all__ = ["MethodConfig", "OptimizerConfig", "ScheduleConfig", "TrainConfig", "read_config"]

# Keys that change what is written beside the result, not the result.
_WITHOUT_EFFECT: Final = ("log", "save_every_s")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimizerConfig(_Strict):
    """The optimiser of every level."""

    name: Literal["sgd", "adam", "adamw"] = Field(default="sgd", description="Which one of torch's.")
    lr: float = Field(default=0.1, gt=0, description="Peak learning rate.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Of `sgd`.")
    weight_decay: float = Field(default=5e-4, ge=0, description="On the weights that a level may change.")
    nesterov: bool = Field(default=False, description="Nesterov's form of `sgd`.")


class ScheduleConfig(_Strict):
    """The learning rate over one level: warm-up, then constant, a cosine to zero, or steps."""

    name: Literal["constant", "cosine", "step"] = Field(
        default="cosine", description="Its form after warm-up."
    )
    warmup: float = Field(default=0.1, ge=0, lt=1, description="Fraction of the level's steps.")
    milestones: tuple[float, ...] = Field(
        default=(0.5, 0.75), description="Fractions at which `step` drops the rate."
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="Factor of each drop.")

    def factor(self, progress: float) -> float:
        """Return the factor on the learning rate at a progress in [0, 1)."""
        import math

        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        if self.name == "constant":
            return 1.0
        if self.name == "step":
            return self.gamma ** sum(progress >= milestone for milestone in self.milestones)
        return 0.5 * (1.0 + math.cos(math.pi * (progress - self.warmup) / (1.0 - self.warmup)))


class MethodConfig(BaseModel):
    """A sparsifier by name, with its own options beside."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = Field(default="gradual-magnitude", description="A name of the table in training.md.")

    @property
    def options(self) -> dict[str, Any]:
        """Return everything but the name."""
        return dict(self.model_extra or {})


class TrainConfig(_Strict):
    """The whole file."""

    model: str = Field(description="`PKG.MODULE:FACTORY` of the network.")
    data: str = Field(description="`PKG.MODULE:FACTORY` of `(train, test)`: datasets of (inputs, target).")
    ladder: tuple[float, ...] = Field(description="Sparsities of the levels, sparsest first.")
    trainer: Literal["freeze", "joint"] = Field(
        default="freeze", description="Levels one after another (ELSA), or all at once."
    )
    method: MethodConfig = Field(
        default=MethodConfig(), description="The sparsifier: its name, or a mapping of name and options."
    )
    epochs: int | tuple[int, ...] = Field(
        default=10, description="Of each level; one number per level is allowed."
    )
    batch_size: int = Field(default=128, ge=1, description="Over all processes together.")
    optimizer: OptimizerConfig = Field(default=OptimizerConfig(), description="See below.")
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="See below.")
    loss: str = Field(
        default="cross_entropy", description="Or `PKG.MODULE:FUNCTION` of (outputs, targets), a scalar."
    )
    metric: str = Field(
        default="accuracy", description="Or `PKG.MODULE:FUNCTION` of (outputs, targets), in [0, 1]."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="In which the network computes; weights stay float32."
    )
    clip_norm: float | None = Field(default=None, gt=0, description="Largest norm of the gradients.")
    accumulate: int = Field(default=1, ge=1, description="Parts in which a batch is computed.")
    norms: Literal["per_level", "frozen_shared", "recalibrate"] = Field(
        default="per_level", description="What levels have of norm layers and biases."
    )
    init: Literal["donor", "kaiming", "zero", "rewind"] = Field(
        default="donor", description="Where weights that a level adds start from."
    )
    granularity: str = Field(
        default="unstructured", description="What is cut together: `4x1`, `1x4`, `4x4`, `channel`, `2:4` ..."
    )
    allocation: Literal["global", "uniform", "erk"] | None = Field(
        default=None, description="Sparsity of each layer; global where it is left out."
    )
    include: tuple[str, ...] = Field(default=(), description="Patterns of weights to nest; empty takes all.")
    exclude: tuple[str, ...] = Field(default=(), description="Patterns of weights that all levels share.")
    per_level: tuple[str, ...] = Field(
        default=(), description="Patterns of further parameters with one row per level."
    )
    per_level_head: bool = Field(default=False, description="Give the last layer one row per level.")
    distillation: float = Field(
        default=0.0, ge=0, description="Of `joint`: weight of the densest level as teacher."
    )
    switch_points: bool = Field(
        default=False, description="Of `joint`: also train networks that change level inside."
    )
    pretrained: Path | None = Field(default=None, description="A dense checkpoint to start from.")
    compressed_start: Path | None = Field(
        default=None, description="An ASNI-II start: fixed masks, two numbers a layer."
    )
    save_compressed_start: Path | None = Field(
        default=None, description="Write the sparsest level as an ASNI-II start."
    )
    log: Literal["csv", "tensorboard"] = Field(default="csv", description="Form of the log in `OUT.run`.")
    save_every_s: float = Field(
        default=60.0, ge=0, description="Seconds between saved states; each epoch is saved anyway."
    )
    seed: int = Field(
        default=0, description="Of first values, the order of the data and all that is drawn by lot."
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        Ladder.from_sparsities(list(self.ladder))
        counts = self.epochs if isinstance(self.epochs, tuple) else (self.epochs,)
        if min(counts, default=0) < 1 or (isinstance(self.epochs, tuple) and len(counts) != self.segments):
            raise ValueError(f"epochs must be at least 1: one number, or {self.segments} of them")
        if self.batch_size % self.accumulate:
            raise ValueError("batch_size must be a multiple of accumulate")
        if self.trainer == "joint" and (self.accumulate > 1 or self.precision != "fp32"):
            raise ValueError("the joint trainer takes neither accumulate nor a precision but fp32")
        return self

    @property
    def segments(self) -> int:
        """How many trainings follow each other: one per level, or one for all."""
        return 1 if self.trainer == "joint" else len(self.ladder)

    def epochs_of(self, segment: int) -> int:
        """Return the epochs of one segment."""
        return self.epochs[segment] if isinstance(self.epochs, tuple) else self.epochs

    def deciding(self) -> dict[str, Any]:
        """Return everything that decides the result, as JSON values."""
        return self.model_dump(mode="json", exclude=set(_WITHOUT_EFFECT))

    def digest(self) -> str:
        """Return a hash of everything that decides the result."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()

    def made(self, provenance: Mapping[str, Any]) -> bool:
        """Whether a checkpoint with this provenance comes from this configuration."""
        told = provenance.get("config")
        if not isinstance(told, dict):
            return False
        return {key: value for key, value in told.items() if key not in _WITHOUT_EFFECT} == self.deciding()


def _explain(name: str, source: Source, error: ValidationError) -> UsageError:
    first = error.errors()[0]
    path = first["loc"]
    key = ".".join(str(part) for part in path) or "the file"
    where = f"{name}, {source.position(path)}"
    if first["type"] == "extra_forbidden":
        owners: dict[str, type[BaseModel]] = {"optimizer": OptimizerConfig, "schedule": ScheduleConfig}
        owner = owners.get(str(path[0]), TrainConfig) if len(path) > 1 else TrainConfig
        names = sorted(owner.model_fields)
        near = closest(str(path[-1]), names)
        return UsageError(
            f"{where}: there is no key {key!r}", allowed=names, fix=f"Nearest: {near!r}" if near else None
        )
    if first["type"] == "missing":
        return UsageError(f"{name} lacks the key {key!r}")
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f"{where}: {key} is wrong ({message})", found=repr(first.get("input"))[:80])


def read_config(path: Path) -> TrainConfig:
    """Read and check a training file. Paths in it are relative to its folder.

    Raises:
        UsageError: When it is missing or not YAML, or a key is unknown, missing, given twice or wrong; with its line.
        LevelError: When its ladder is not one.
    """
    if not path.is_file():
        raise UsageError(f"There is no training file at {path}")
    try:
        source = parse(str(path), path.read_text(encoding="utf-8"))
    except ProfileError as error:
        raise UsageError(
            error.problem, expected=error.expected, found=error.found, allowed=error.allowed, fix=error.fix
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file ({error.reason})") from error
    content = source.values
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a training file", expected="keys such as model, data and ladder")
    if isinstance(content.get("method"), str):
        content["method"] = {"name": content["method"]}
    try:
        config = TrainConfig.model_validate(content)
    except ValidationError as error:
        cause = error.errors()[0].get("ctx", {}).get("error")
        if isinstance(cause, LevelError):
            raise cause from error
        raise _explain(str(path), source, error) from error
    moved = {
        name: path.parent / value
        for name in ("pretrained", "compressed_start", "save_compressed_start")
        if (value := getattr(config, name)) is not None and not value.is_absolute()
    }
    return config.model_copy(update=moved)
