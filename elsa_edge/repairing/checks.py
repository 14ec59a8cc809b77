"""Do these inputs look like those that the network was trained on? BatchNorm remembers.

    distance = median over channels of |mean(x) - stored mean| / sqrt(stored variance)
    spread   = median over channels of  var(x) / stored variance

of what arrives at each BatchNorm of the dense network. Inputs 0..255 in place of 0..1, or noise in place of
photographs, are far off at once; natural inputs, even few, stay near 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import InputError
from elsa_edge.repairing.samples import Arguments, tensors_in
from elsa_edge.sparsify.norms import batch_norms, evaluating

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Likeness", "likeness", "refuse_broken", "refuse_unlike"]

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
    def cost(self) -> float:
        """One number to compare by, 0 is alike."""
        import math

        return self.distance + abs(math.log(max(self.spread, 1e-12)))


def likeness(model: nn.Module, batches: Iterable[Arguments], device: Any = "cpu") -> Likeness | None:
    """Compare what arrives at each BatchNorm with what it has stored; None for a network without BatchNorm."""
    import torch

    norms = batch_norms(model)
    if not norms:
        return None
    seen: dict[str, list[Any]] = {name: [0.0, 0.0, 0] for name in norms}

    def watch(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, inputs: Any) -> None:
            x = inputs[0].detach().double().transpose(0, 1).flatten(1)  # (channels, samples x places)
            sums = seen[name]
            sums[0], sums[1], sums[2] = sums[0] + x.sum(1), sums[1] + x.square().sum(1), sums[2] + x.shape[1]

        return hook

    handles = [norm.register_forward_pre_hook(watch(name)) for name, norm in norms.items()]
    try:
        with evaluating(model), torch.no_grad():
            for positional, named in batches:
                model(*(to(v, device) for v in positional), **{k: to(v, device) for k, v in named.items()})
    finally:
        for handle in handles:
            handle.remove()
    distances, spreads = [], []
    for name, norm in norms.items():
        total, squares, count = seen[name]
        if count < 2:
            continue
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0.0)
        stored = norm.running_var.double() + norm.eps  # type: ignore[operator]  # buffers of a norm
        distances.append(float(((mean - norm.running_mean).abs() / stored.sqrt()).median()))
        spreads.append(float((variance / stored).median()))
    if not distances:
        return None
    return Likeness(
        float(torch.tensor(distances).median()), float(torch.tensor(spreads, dtype=torch.float64).median())
    )


def to(value: Any, device: Any) -> Any:
    """Move a tensor; leave anything else."""
    return value.to(device) if hasattr(value, "to") else value


def refuse_unlike(found: Likeness | None) -> None:
    """Refuse inputs of another scale or kind.

    Raises:
        InputError: Saying how far off they are.
    """
    if found is None or found.alike:
        return
    raise InputError(
        "The inputs look unlike those that the network was trained on",
        expected="about the means and variances that its BatchNorm layers have stored",
        found=f"means {found.distance:.1f} standard deviations away, variances {found.spread:.2g} times as large",
        fix="Scale the inputs as in training (0..1? mean and standard deviation?), or give --accept-inputs",
    )


def refuse_broken(arguments: Arguments) -> None:
    """Refuse inputs with NaN or infinity.

    Raises:
        InputError: With how many there are.
    """
    import torch

    for tensor in tensors_in(arguments):
        if tensor.is_floating_point():
            broken = int((~torch.isfinite(tensor)).sum())
            if broken:
                raise InputError("The inputs hold NaN or infinity", found=f"{broken} values in one batch")
