"""How much of the dense network a cut keeps, before anything is repaired: agreement on held-out inputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from elsa_edge.repairing.augment import Augmentation
from elsa_edge.repairing.distance import outputs_of
from elsa_edge.repairing.samples import Arguments, Samples
from elsa_edge.repairing.settings import RepairSettings
from elsa_edge.repairing.sources import source_of
from elsa_edge.repairing.teacher import Teacher, run
from elsa_edge.sparsify.data import offered
from elsa_edge.sparsify.products import Products, trace_products
from elsa_edge.trained import load_arrays, plain_network

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Judge"]


class Judge:
    """Measures the agreement of levels on held-out inputs."""

    def __init__(self, model: nn.Module, data: Any, seed: int) -> None:
        import torch

        self.model = plain_network(model).float().eval()
        device = next(self.model.parameters()).device
        self.samples = Samples(
            source_of(self.model, data), held_out=0.1, augmentation=Augmentation(), seed=seed
        )
        self._copy = copy.deepcopy(self.model)
        first = self.samples.take(self.samples.held_out_places[:2])
        with offered(first), torch.no_grad():
            run(self.model, first, device)
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
