"""What a repair is told, checked once, and what it tells while it runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from elsa_edge.errors import UnknownNameError, UsageError

__all__ = ["AUGMENTATIONS", "LOSSES", "MODES", "RepairEvent", "RepairSettings"]

MODES: Final = ("tables", "weights")
LOSSES: Final = ("auto", "kl", "mse")
AUGMENTATIONS: Final = ("auto", "crop", "crop-flip", "none")

_RATES: Final = {"tables": 0.1, "weights": 0.03}
_LARGEST_RATE: Final = 100.0


@dataclass(frozen=True, slots=True)
class RepairSettings:
    """How levels are repaired.

    Attributes:
        mode: `tables` (each weight keeps its bits) or `weights` (what a level adds is tuned, then frozen).
        loss: `auto` (`kl` for outputs `(batch, classes)`, else `mse`), `kl`, `mse`, or a function
            `(level's outputs, dense outputs) -> scalar`.
        features: Names of modules whose outputs must come near the dense network's too, by mean squared error.
        steps: Optimiser steps a level, at most.
        batch_size: Inputs a step.
        learning_rate: Peak step of Adam in parts of each tensor's root mean square, so that networks of any scale take
            the same rate; None for 0.1 (`tables`) or 0.03 (`weights`).
        temperature: Of `kl`: logits are divided by it.
        augment: `none`, `crop`, `crop-flip`, or `auto`: fewer than 2048 images `(batch, 1 or 3, h, w)` are varied as
            far as the dense network stays sure of its answers.
        held_out: Share of the inputs that is never trained on; of few inputs eight, or a quarter.
        check_every: Steps between two looks at the held-out inputs.
        patience: Looks without gain after which a level is done.
        minutes: Time for all levels together; None for as long as the steps take.
        accept_inputs: Go on although the inputs look unlike those that the network was trained on.
        seed: Of the order of inputs, the augmentation and the choice of what is held out.

    Raises:
        UsageError: When one of them is out of range.

    Example:
        >>> RepairSettings(mode="weights", minutes=5).steps
        400
    """

    mode: str = "tables"
    loss: str | Callable[[Any, Any], Any] = "auto"
    features: tuple[str, ...] = ()
    steps: int = 400
    batch_size: int = 128
    learning_rate: float | None = None
    temperature: float = 2.0
    augment: str = "auto"
    held_out: float = 0.1
    check_every: int = 50
    patience: int = 4
    minutes: float | None = None
    accept_inputs: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for kind, value, allowed in (
            ("mode", self.mode, MODES),
            ("loss", self.loss, LOSSES),
            ("augmentation", self.augment, AUGMENTATIONS),
        ):
            if isinstance(value, str) and value not in allowed:
                raise UnknownNameError(kind, value, allowed)
        for name, least in (
            ("steps", 1),
            ("batch_size", 2),
            ("check_every", 1),
            ("patience", 1),
            ("seed", 0),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}", found=getattr(self, name))
        for name, positive in (
            ("learning_rate", self.learning_rate),
            ("temperature", self.temperature),
            ("minutes", self.minutes),
        ):
            if positive is not None and not 0.0 < positive < float("inf"):
                raise UsageError(f"{name} must be a positive number", found=positive)
        if self.learning_rate is not None and self.learning_rate > _LARGEST_RATE:
            raise UsageError(
                "learning_rate is in parts of each tensor's size",
                expected=f"at most {_LARGEST_RATE:g}",
                found=self.learning_rate,
            )
        if not 0.0 < self.held_out <= 0.5:
            raise UsageError("held_out must lie above 0 and at most at 0.5", found=self.held_out)

    @property
    def rate(self) -> float:
        """Peak learning rate."""
        return _RATES[self.mode] if self.learning_rate is None else self.learning_rate

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON values; a function by its name."""
        facts = dataclasses.asdict(self)
        if not isinstance(self.loss, str):
            facts["loss"] = getattr(self.loss, "__qualname__", type(self.loss).__name__)
        facts["learning_rate"] = self.rate
        facts["features"] = list(self.features)
        return facts

    def digest(self) -> str:
        """Return a hash of everything that decides the result, time apart."""
        facts = {key: value for key, value in self.plain().items() if key != "minutes"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RepairEvent:
    """Where a repair is.

    Attributes:
        level: Name of the level in work.
        step: Its optimiser steps done.
        steps: How many are planned; fewer than asked for where the time will not do.
        agreement: With the dense network on the held-out inputs, at the best look so far.
        looked: Whether the held-out inputs have just been looked at.

    Example:
        >>> RepairEvent(level="s90", step=50, steps=400, agreement=0.97, looked=True).level
        's90'
    """

    level: str
    step: int
    steps: int
    agreement: float
    looked: bool
