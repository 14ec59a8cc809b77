"""Do these inputs look like those that the network was trained on? BatchNorm remembers.

    distance = median over channels of |mean(x) - stored mean| / sqrt(stored variance)
    spread   = median over channels of  var(x) / stored variance

of what arrives at each BatchNorm of the dense network. Inputs 0..255 in place of 0..1, or noise in place of
photographs, are far off at once; natural inputs, even few, stay near 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from elsa_edge.sparsify.statistics import DenseNorms

__all__ = ["Likeness", "likeness_of"]

# Photographs of other scenes than the training set's stay below a third of each.
_FAR: Final = 2.0
_WIDE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far inputs are from what the network saw; see the module's text.

    Attributes:
        distance: In standard deviations; 0 is alike.
        spread: As a ratio; 1 is alike.
    """

    distance: float
    spread: float

    @property
    def alike(self) -> bool:
        """Whether the inputs can be what the network was trained on."""
        return self.distance <= _FAR and 1.0 / _WIDE <= self.spread <= _WIDE

    @property
    def sentence(self) -> str:
        """What it says, for people; rounded finely enough that a value beyond a limit is not shown as the limit."""
        return (
            f"BatchNorm sees means {self.distance:.3g} standard deviations from the stored ones, variances "
            f"{self.spread:.3g} times as large"
        )

    @property
    def cost(self) -> float:
        """One number to compare by, 0 is alike."""
        import math

        return self.distance + abs(math.log(max(self.spread, 1e-12)))


def likeness_of(dense: DenseNorms) -> Likeness | None:
    """Compare what arrives at each BatchNorm with what it has stored; None for a network without BatchNorm."""
    import torch

    distances, spreads = [], []
    for name, (stored_mean, stored_variance) in dense.stored.items():
        calls = [call for batch in dense.moments for call in batch.get(name, [])]
        if not calls:
            continue
        means, variances = (torch.stack(parts).double() for parts in zip(*calls, strict=True))
        mean = means.mean(0)
        variance = variances.mean(0) + means.var(0, unbiased=False)
        stored = stored_variance.double() + dense.eps[name]
        distances.append(float(((mean - stored_mean).abs() / stored.sqrt()).median()))
        spreads.append(float((variance / stored).median()))
    if not distances:
        return None
    return Likeness(*(float(torch.tensor(x, dtype=torch.float64).median()) for x in (distances, spreads)))
