"""What a level costs: multiply-adds, or the time that a device has measured on levels of the same network.

    share(sparsity) = p50(1 - sparsity) / p50(densest)      p50 interpolated linearly between measured densities

Outside the measured densities the nearest one counts: nothing is promised that was not measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import InputError
from elsa_edge.levels import mask_at
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.sparsify.products import Products

__all__ = ["MeasuredTimes", "multiply_adds"]


@dataclass(frozen=True, slots=True)
class MeasuredTimes:
    """Median latencies of levels of this network on a device.

    Attributes:
        densities: `(levels,)` fractions of weights, ascending.
        p50_ms: `(levels,)` milliseconds.
    """

    densities: tuple[float, ...]
    p50_ms: tuple[float, ...]

    @classmethod
    def of(cls, profile: DeviceProfile) -> MeasuredTimes:
        """Read what `elsa-edge profile` measured; the sparsity of a level is read off its name.

        Raises:
            InputError: When fewer than two levels were measured, or the dense one was not.
        """
        rows = () if profile.measured is None else profile.measured.levels
        found = sorted(
            (1.0 - sparsity, row.p50_ms)
            for row in rows
            if row.p50_ms is not None and (sparsity := _sparsity(row.name)) is not None
        )
        if len(found) < 2 or found[-1][0] < 1.0:
            raise InputError(
                f"The profile {profile.name} does not say how long levels of this network take",
                expected="a profile with two measured levels at least, the dense one among them",
                found=", ".join(row.name for row in rows) or "nothing measured",
                fix="Make a bundle with a few levels, and run elsa-edge profile BUNDLE --device ... on the device",
            )
        return cls(tuple(density for density, _ in found), tuple(time for _, time in found))

    def share_at(self, sparsity: float) -> float:
        """Return the time of a level as a fraction of the dense one's."""
        return float(np.interp(1.0 - sparsity, self.densities, self.p50_ms)) / self.p50_ms[-1]


def _sparsity(name: str) -> float | None:
    """Return the sparsity that a level is named by, as `s95` or `s97_5`; None for a name of another form."""
    if name == "dense":
        return 0.0
    found = re.fullmatch(r"s(\d+(?:_\d+)?)", name)
    return None if found is None else float(found[1].replace("_", ".")) / 100.0


def multiply_adds(checkpoint: NestedCheckpoint, products: Products) -> list[float]:
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
