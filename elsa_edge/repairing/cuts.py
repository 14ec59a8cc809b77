"""Which cut: tried on inputs, judged by agreement with the dense network on held-out ones.

    for each score and allocation: cut, re-estimate BatchNorm, agreement of the sparse levels; the best mean is taken

Nothing is trained here: what a cut keeps of the dense network before a repair is what is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import DeadLevelError, InputError
from elsa_edge.levels import Ladder, mask_at
from elsa_edge.repairing.judge import Judge
from elsa_edge.sparsify.oneshot import sparsify

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CANDIDATES", "Tried", "best_cut"]

# Score and allocation.
CANDIDATES: Final = (("magnitude", "global"), ("magnitude", "erk"), ("fisher", "global"), ("fisher", "erk"))


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
    judge = Judge(model, data, seed)
    best: tuple[float, NestedCheckpoint] | None = None
    tried: list[Tried] = []
    shared = {"granularity": granularity, "include": include, "exclude": exclude, "seed": seed}
    structured = ":" in granularity
    pairs = list(dict.fromkeys((m, "uniform" if structured else a) for m, a in candidates))
    for method, allocation in pairs:
        chosen: dict[str, Any] = {**shared, "method": method, "allocation": allocation}
        try:
            cut = sparsify(judge.model, ladder, data=judge.calibration(), provenance=provenance, **chosen)
        except (InputError, DeadLevelError) as error:
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
