"""Which cut, and which levels: tried on inputs, judged by agreement with the dense network on held-out ones.

    cut      for each score and allocation: cut, re-estimate BatchNorm, agreement of the sparse levels; the best mean
    levels   one cut at many sparsities; a few of them

Nothing is trained here: what a cut keeps of the dense network before a repair is what is compared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import InputError
from elsa_edge.levels import Ladder, mask_at
from elsa_edge.repairing.augment import Augmentation
from elsa_edge.repairing.distance import outputs_of
from elsa_edge.repairing.samples import Arguments, Samples, source_of
from elsa_edge.repairing.settings import RepairSettings
from elsa_edge.repairing.teacher import Teacher, run
from elsa_edge.sparsify.oneshot import sparsify
from elsa_edge.sparsify.products import Products, trace_products
from elsa_edge.trained import load_arrays, plain_network

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CANDIDATES", "GRID", "LevelTried", "Tried", "best_cut", "choose_levels"]

# Score and allocation.
CANDIDATES: Final = (("magnitude", "global"), ("magnitude", "erk"), ("fisher", "global"), ("fisher", "erk"))
GRID: Final = (0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)

# A level is worth its place when it needs this part of the next denser one's multiply-adds, or less.
_WORTH: Final = 0.7
# Below this agreement, BatchNorm re-estimated, a repair of minutes does not bring a level back.
_LOST: Final = 0.3


@dataclass(frozen=True, slots=True)
class Tried:
    """One cut and what it kept.

    Attributes:
        method: Score.
        allocation: Sparsity of each layer.
        agreements: Of each sparse level with the dense network, in [0, 1], sparsest first.
        why_not: Why it could not be made; None where it could.
    """

    method: str
    allocation: str
    agreements: tuple[float, ...]
    why_not: str | None = None

    @property
    def mean(self) -> float:
        """What cuts are compared by."""
        return sum(self.agreements) / len(self.agreements) if self.agreements else -1.0


@dataclass(frozen=True, slots=True)
class LevelTried:
    """One sparsity that was looked at.

    Attributes:
        sparsity: Of the nested weights.
        multiply_adds: Fraction of the dense network's.
        agreement: With the dense network, BatchNorm re-estimated.
        verdict: `kept`, or why not.
    """

    sparsity: float
    multiply_adds: float
    agreement: float
    verdict: str


class _Judge:
    """Measures the agreement of levels on held-out inputs."""

    def __init__(self, model: nn.Module, data: Any, seed: int) -> None:
        self.model = plain_network(model).float().eval()
        device = next(self.model.parameters()).device
        self.samples = Samples(
            source_of(self.model, data), held_out=0.1, augmentation=Augmentation(), seed=seed
        )
        self._copy = copy.deepcopy(self.model)
        self._teacher = Teacher(self.model, self.samples, RepairSettings(), device)

    def calibration(self) -> list[Any]:
        """Return inputs that are not held out, as `sparsify` takes them."""
        return [_batch(arguments) for arguments in self.samples.calibration(128)]

    def agreement(self, state: Mapping[str, Any]) -> float:
        """Return the agreement of a state_dict with the dense network."""
        import torch

        load_arrays(self._copy, state)
        counted = self._teacher.distance.agreement()
        with torch.no_grad():
            for arguments, target in self._teacher.held_out:
                answer = run(self._copy, arguments, self._teacher.device)
                counted.add(outputs_of(answer), outputs_of(target))
        return counted.value

    def products(self) -> Products:
        """Return what the network multiplies with, for one input."""
        positional, named = next(iter(self.samples.held_out(1)))
        return trace_products(self._copy, positional, named)


def _batch(arguments: Arguments) -> Any:
    positional, named = arguments
    return named or (positional,)


def best_cut(
    model: nn.Module,
    ladder: Ladder | Sequence[float],
    data: Any,
    *,
    candidates: Sequence[tuple[str, str]] = CANDIDATES,
    granularity: str = "unstructured",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
    told: Callable[[Tried], None] = lambda _tried: None,
) -> tuple[NestedCheckpoint, list[Tried]]:
    """Cut in several ways and return the cut whose levels stay nearest to the dense network.

    Args:
        model: The trained network; its numbers are as before afterwards.
        ladder: Levels or sparsities.
        data: Inputs without labels, see `source_of`.
        candidates: Pairs of score and allocation; with N:M the allocation is left out.
        granularity: What is cut together.
        include: Patterns of weights to nest.
        exclude: Patterns of weights that stay dense.
        seed: Of what is held out, and of drawn answers.
        provenance: Further facts to store.
        told: Called with each cut that was tried.

    Returns:
        The best checkpoint, and everything that was tried.

    Raises:
        InputError: When no cut can be made.
    """
    judge = _Judge(model, data, seed)
    best: tuple[float, NestedCheckpoint] | None = None
    tried: list[Tried] = []
    shared = {"granularity": granularity, "include": include, "exclude": exclude, "seed": seed}
    structured = ":" in granularity
    pairs = list(dict.fromkeys((m, "uniform" if structured else a) for m, a in candidates))
    for method, allocation in pairs:
        chosen: dict[str, Any] = {**shared, "method": method, "allocation": allocation}
        try:
            cut = sparsify(judge.model, ladder, data=judge.calibration(), provenance=provenance, **chosen)
        except InputError as error:
            found = Tried(method, allocation, (), str(error))
        else:
            sparse = [k for k in range(len(cut.ladder)) if not _full(cut, k)] or [len(cut.ladder) - 1]
            found = Tried(method, allocation, tuple(judge.agreement(cut.at_level(k)) for k in sparse))
            if best is None or found.mean > best[0]:
                best = (found.mean, cut)
        tried.append(found)
        told(found)
    if best is None:
        raise InputError("No cut could be made", found="; ".join(t.why_not or "" for t in tried))
    return best[1], tried


def _full(checkpoint: NestedCheckpoint, level: int) -> bool:
    return all(bool(mask_at(index, level).all()) for index in checkpoint.indices.values())


def choose_levels(
    model: nn.Module,
    data: Any,
    *,
    grid: Sequence[float] = GRID,
    most: int = 4,
    seed: int = 0,
    **settings: Any,
) -> tuple[Ladder, list[LevelTried]]:
    """Find a few levels that are worth having, from the densest to the sparsest.

    A level is kept when it needs at most 70 % of the multiply-adds of the next denser one that is kept, agrees with the
    dense network more than any sparser one, and is not lost: below 0.3 a repair of minutes does not bring it back.

    Args:
        model: The trained network; its numbers are as before afterwards.
        data: Inputs without labels.
        grid: Sparsities to look at, sparsest first.
        most: Levels at most, the dense one included.
        seed: Of what is held out.
        settings: Of `sparsify`: method, allocation, granularity, include, exclude.

    Returns:
        The ladder, and everything that was looked at, sparsest first.

    Raises:
        UsageError: When a setting is wrong.
        InputError: When the inputs do not serve.
    """
    judge = _Judge(model, data, seed)
    cut = sparsify(judge.model, [*grid, 0.0], data=judge.calibration(), seed=seed, **settings)
    costs = _costs(cut, judge.products())
    agreements = [judge.agreement(cut.at_level(k)) for k in range(len(grid))]
    verdicts, kept, last = [""] * len(grid), [0.0], 1.0
    for k in reversed(range(len(grid))):
        verdicts[k] = _verdict(agreements[k], agreements[:k], costs[k] / last, full=len(kept) >= most)
        if verdicts[k] == "kept":
            kept.append(grid[k])
            last = costs[k]
    rows = [LevelTried(*row) for row in zip(grid, costs[:-1], agreements, verdicts, strict=True)]
    return Ladder.from_sparsities(kept[::-1]), rows


def _verdict(agreement: float, sparser: Sequence[float], part: float, *, full: bool) -> str:
    if agreement < _LOST:
        return f"lost: agreement {agreement:.2f}"
    if any(other >= agreement for other in sparser):
        return "a sparser level agrees as much"
    if part > _WORTH:
        return f"saves too little: {part:.0%} of the next denser level's work"
    return "enough levels" if full else "kept"


def _costs(checkpoint: NestedCheckpoint, products: Products) -> list[float]:
    """Return the fraction of the dense network's multiply-adds at each level."""
    total = products.multiply_adds
    costs = []
    for level in range(len(checkpoint.ladder)):
        saved = 0.0
        for name, product in products.found.items():
            if name in checkpoint.indices:
                share = float(mask_at(checkpoint.indices[name], level).mean())
                saved += product.multiply_adds * (1.0 - share)
        costs.append(1.0 - saved / total if total else 1.0)
    return costs
