"""How levels lie inside a network: what is cut together, what is shared, what each level has of its own.

One object, checked once; both trainers take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import UnknownNameError, UsageError
from elsa_edge.sparsify.allocation import Allocation, allocation_named
from elsa_edge.sparsify.patterns import NofM, Pattern, parse_pattern
from elsa_edge.training.initial import check_init
from elsa_edge.training.partition import NORM_POLICIES, Partition, partition

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Nesting"]

# What only levels that follow each other have: a level that is trained jointly starts and ends with all others.
_ONLY_STAGES: Final = ("norms", "per_level", "per_level_head", "init")


@dataclass(frozen=True, slots=True)
class Nesting:
    """How levels lie inside a network.

    Attributes:
        granularity: `unstructured`, `4x1`, `1x4`, `4x4`, `channel` or N:M.
        allocation: `global` (the same as None), `uniform` or `erk`. N:M has one share everywhere: None or `uniform`.
        include: Patterns of weights to nest; empty takes all that can be.
        exclude: Patterns of weights that every level shares.
        norms: `per_level`, `frozen_shared` or `recalibrate`: norm layers and biases, see `partition`.
        per_level: Patterns of further parameters that get one row per level.
        per_level_head: Give the last layer one row per level.
        init: Where free weights start from: `donor`, `kaiming`, `zero` or `rewind`.
        seed: Of everything that is drawn by lot.

    Raises:
        UsageError: When a name does not exist, or N:M is combined with an allocation.
    """

    granularity: str = "unstructured"
    allocation: str | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    norms: str = "per_level"
    per_level: Sequence[str] = ()
    per_level_head: bool = False
    init: str = "donor"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("include", "exclude", "per_level"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.norms not in NORM_POLICIES:
            raise UnknownNameError("norm policy", self.norms, NORM_POLICIES)
        check_init(self.init)
        allocation_named(self.allocation or "global")

    def pattern(self, sparsities: tuple[float, ...]) -> Pattern:
        """Return the granularity for a ladder.

        Raises:
            UsageError: When there is no such granularity, or N:M is combined with an allocation.
            LevelError: When the ladder does not fit it.
        """
        pattern = parse_pattern(self.granularity, sparsities)
        if isinstance(pattern, NofM) and self.allocation not in (None, "uniform"):
            raise UsageError(
                f"N:M keeps the same share everywhere: no allocation {self.allocation!r} with it",
                fix="Leave the allocation out",
            )
        return pattern

    @property
    def divide(self) -> Allocation:
        """The allocation: divides a budget over the weights."""
        return allocation_named(self.allocation or "global")

    def partition(self, model: nn.Module, pattern: Pattern) -> Partition:
        """Sort the tensors of a network into nested, per level and shared.

        Raises:
            UsageError: When a pattern fits nothing, or nothing is left to nest.
        """
        return partition(
            model,
            pattern,
            include=self.include,
            exclude=self.exclude,
            norms=self.norms,
            per_level=self.per_level,
            per_level_head=self.per_level_head,
        )

    def for_joint(self) -> Nesting:
        """Return the same, after checking that it asks for nothing that joint training does not have.

        Raises:
            UsageError: Naming the setting.
        """
        plain = Nesting()
        unused = [name for name in _ONLY_STAGES if getattr(self, name) != getattr(plain, name)]
        if unused:
            raise UsageError(
                f"The joint trainer has no setting {unused[0]!r}: all its levels are trained at once, with rows of "
                "their own",
                fix="Leave it out, or use the trainer freeze",
            )
        return self

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        facts = asdict(self)
        facts["allocation"] = self.allocation or "global"
        return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}
