"""Which levels: one cut at many sparsities; the few that lie on the front of agreement and cost are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import DeadLevelError, LevelError
from elsa_edge.levels import Ladder
from elsa_edge.repairing.costs import MeasuredTimes, multiply_adds
from elsa_edge.repairing.judge import Judge
from elsa_edge.sparsify.oneshot import sparsify

if TYPE_CHECKING:
    from torch import nn

__all__ = ["GRID", "LevelTried", "choose_levels"]

GRID: Final = (0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)

# A level is worth its place when it costs this part of the next denser one, or less.
_WORTH: Final = 0.7
# Below this agreement, BatchNorm re-estimated, a repair of minutes does not bring a level back.
_LOST: Final = 0.3


@dataclass(frozen=True, slots=True)
class LevelTried:
    """One sparsity that was looked at.

    Attributes:
        sparsity: Of the nested weights.
        multiply_adds: Fraction of the dense network's; None for a level that was dropped before it was counted.
        time: Fraction of the dense network's time on the device; None where none was measured.
        agreement: With the dense network, BatchNorm re-estimated.
        verdict: `kept`, or why not.
    """

    sparsity: float
    multiply_adds: float | None
    time: float | None
    agreement: float
    verdict: str


def choose_levels(
    model: nn.Module,
    data: Any,
    *,
    grid: Sequence[float] = GRID,
    most: int = 4,
    seed: int = 0,
    times: MeasuredTimes | None = None,
    **settings: Any,
) -> tuple[Ladder, list[LevelTried]]:
    """Find a few levels that are worth having, from the densest to the sparsest.

    A level is kept when it costs at most 70 % of the next denser one that is kept, agrees with the dense network more
    than any sparser one, and is not lost: below 0.3 a repair of minutes does not bring it back. Cost is multiply-adds,
    or time where a device has measured levels of this network.

    Args:
        model: The trained network; its numbers are as before afterwards.
        data: Inputs without labels.
        grid: Sparsities to look at, sparsest first.
        most: Levels at most, the dense one included.
        seed: Of what is held out.
        times: What the levels of this network take on a device; None counts multiply-adds.
        settings: Of `sparsify`: method, allocation, granularity, include, exclude.

    Returns:
        The ladder, and everything that was looked at, sparsest first.

    Raises:
        UsageError: When a setting is wrong.
        InputError: When the inputs do not serve.
    """
    judge = Judge(model, data, seed)
    lost: list[LevelTried] = []
    while True:
        try:
            cut = sparsify(judge.model, [*grid, 0.0], data=judge.calibration(), seed=seed, **settings)
            break
        except (DeadLevelError, LevelError) as error:  # the sparsest is the first to fall silent
            if len(grid) == 1:
                raise
            silent = isinstance(error, DeadLevelError)
            why = "lost: it does not follow its inputs" if silent else "it cannot be reached"
            lost.append(LevelTried(grid[0], None, None, 0.0, why))
            grid = grid[1:]
    work = multiply_adds(cut, judge.products())
    costs = work if times is None else [times.share_at(sparsity) for sparsity in (*grid, 0.0)]
    agreements = [judge.agreement(cut.at_level(k)) for k in range(len(grid))]
    verdicts, kept, last = [""] * len(grid), [0.0], 1.0
    for k in reversed(range(len(grid))):
        verdicts[k] = _verdict(agreements[k], agreements[:k], costs[k] / last, full=len(kept) >= most)
        if verdicts[k] == "kept":
            kept.append(grid[k])
            last = costs[k]
    shares = [None] * len(grid) if times is None else costs[:-1]
    rows = [LevelTried(*row) for row in zip(grid, work[:-1], shares, agreements, verdicts, strict=True)]
    return Ladder.from_sparsities(kept[::-1]), [*lost, *rows]


def _verdict(agreement: float, sparser: Sequence[float], part: float, *, full: bool) -> str:
    if agreement < _LOST:
        return f"lost: agreement {agreement:.2f}"
    if any(other >= agreement for other in sparser):
        return "a sparser level agrees as much"
    if part > _WORTH:
        return f"saves too little: {part:.0%} of the next denser level's cost"
    return "enough levels" if full else "kept"
