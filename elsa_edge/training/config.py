"""What `elsa-edge train` reads: one YAML file with the network, the data, the ladder, the method and the schedule.

    model: examples.cnn:small            trainer: freeze            batch_size: 128
    data: examples.cnn:fashion           epochs: 4                  optimizer: {name: sgd, lr: 0.1, momentum:
    0.9}
    ladder: [0.95, 0.9, 0]               seed: 0                    method: {name: gradual-magnitude, end:
    0.75}

Every key is checked before torch is loaded; a misspelt one is answered with the nearest.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from elsa_edge.errors import LevelError, UsageError
from elsa_edge.levels import Ladder

__all__ = ["MethodConfig", "OptimizerConfig", "ScheduleConfig", "TrainConfig", "read_config"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimizerConfig(_Strict):
    """The optimiser of every level."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    nesterov: bool = False


class ScheduleConfig(_Strict):
    """The learning rate over one level: warm-up, then constant, a cosine to zero, or steps."""

    name: Literal["constant", "cosine", "step"] = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1, description="Fraction of the level's steps.")
    milestones: tuple[float, ...] = Field(
        default=(0.5, 0.75), description="Fractions at which `step` drops the rate."
    )
    gamma: float = Field(default=0.1, gt=0, le=1)

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
    name: str = "gradual-magnitude"

    @property
    def options(self) -> dict[str, Any]:
        """Return everything but the name."""
        return dict(self.model_extra or {})


class TrainConfig(_Strict):
    """The whole file."""

    model: str
    data: str
    ladder: tuple[float, ...]
    trainer: Literal["freeze", "joint"] = "freeze"
    method: MethodConfig = MethodConfig()
    epochs: int | tuple[int, ...] = Field(
        default=10, description="Of each level; one number a level is allowed."
    )
    batch_size: int = Field(default=128, ge=1, description="Over all processes together.")
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: str = "cross_entropy"
    metric: str = "accuracy"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    clip_norm: float | None = Field(default=None, gt=0)
    accumulate: int = Field(default=1, ge=1)
    norms: Literal["per_level", "frozen_shared", "recalibrate"] = "per_level"
    init: Literal["donor", "kaiming", "zero", "rewind"] = "donor"
    granularity: str = "unstructured"
    allocation: Literal["global", "uniform", "erk"] | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_level: tuple[str, ...] = ()
    per_level_head: bool = False
    distillation: float = Field(default=0.0, ge=0)
    switch_points: bool = False
    pretrained: Path | None = Field(default=None, description="A dense checkpoint to start from.")
    compressed_start: Path | None = Field(
        default=None, description="An ASNI-II start: fixed masks, two numbers a layer."
    )
    save_compressed_start: Path | None = Field(
        default=None, description="Write the sparsest level as an ASNI-II start."
    )
    log: Literal["csv", "tensorboard"] = "csv"
    save_every_s: float = Field(default=60.0, ge=0)
    seed: int = 0

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
        """How many trainings follow each other: one a level, or one for all."""
        return 1 if self.trainer == "joint" else len(self.ladder)

    def epochs_of(self, segment: int) -> int:
        """Return the epochs of one segment."""
        return self.epochs[segment] if isinstance(self.epochs, tuple) else self.epochs

    def digest(self) -> str:
        """Return a hash of everything that decides the result."""
        plain = self.model_dump(mode="json", exclude={"log", "save_every_s"})
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _explain(path: Path, error: ValidationError) -> UsageError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        owners: dict[str, type[BaseModel]] = {"optimizer": OptimizerConfig, "schedule": ScheduleConfig}
        owner: type[BaseModel] = TrainConfig
        if len(first["loc"]) > 1:
            owner = owners.get(str(first["loc"][0]), TrainConfig)
        names = sorted(owner.model_fields)
        near = difflib.get_close_matches(str(first["loc"][-1]), names, n=1, cutoff=0.5)
        return UsageError(
            f"{path} has a key {key!r} that does not exist", allowed=names,
            fix=f"Nearest: {near[0]!r}" if near else None,
        )  # fmt: skip
    if first["type"] == "missing":
        return UsageError(f"{path} lacks the key {key!r}")
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f"{path}: {key} is wrong ({message})", found=repr(first.get("input"))[:80])


def read_config(path: Path) -> TrainConfig:
    """Read and check a training file. Paths in it are relative to its folder.

    Raises:
        UsageError: When it is missing or no YAML, or a key is unknown, missing or wrong.
        LevelError: When its ladder is none.
    """
    if not path.is_file():
        raise UsageError(f"There is no training file at {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no training file", expected="keys such as model, data and ladder")
    if isinstance(content.get("method"), str):
        content["method"] = {"name": content["method"]}
    try:
        config = TrainConfig.model_validate(content)
    except ValidationError as error:
        cause = error.errors()[0].get("ctx", {}).get("error")
        if isinstance(cause, LevelError):
            raise cause from error
        raise _explain(path, error) from error
    moved = {
        name: path.parent / value
        for name in ("pretrained", "compressed_start", "save_compressed_start")
        if (value := getattr(config, name)) is not None and not value.is_absolute()
    }
    return config.model_copy(update=moved)
