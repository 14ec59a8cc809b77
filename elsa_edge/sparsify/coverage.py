"""How much of a network can be sparse: shares of parameters and multiply-adds, and what stays dense and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.sparsify.products import Products
from elsa_edge.sparsify.prunable import Prunable

if TYPE_CHECKING:
    from torch import nn

__all__ = ["coverage", "sentences"]

_LARGE: Final = 0.01  # of all parameters


def coverage(
    model: nn.Module,
    weights: Sequence[Prunable],
    products: Products | None,
    *,
    dense: Mapping[str, str] = MappingProxyType({}),
    depthwise: Sequence[Prunable] = (),
) -> dict[str, Any]:
    """Return what the nested weights are of the whole network, as JSON values.

    Args:
        model: The network.
        weights: Those that become nested.
        products: What a run multiplied with, if there was one.
        dense: Weights that could be nested and are not -> why.
        depthwise: Those of them that are depthwise convolutions, which are no matrix products.

    Returns:
        `parameters` and `multiply_adds`: shares in [0, 1], the second None without a run; `depthwise_multiply_adds`:
        the share of depthwise convolutions that stay dense; `activation_multiply_adds`: that of products of
        activations with each other (attention), which have no weights; `dense`: name, size and reason of each weight
        (not bias or scale) above 1 % that is not nested.
    """
    nested = {name for weight in weights for name in (weight.name, *weight.aliases)}
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    matrices = {
        name: parameter.ndim > 1 for name, parameter in model.named_parameters()
    }  # biases are no news
    total = max(1, sum(sizes.values()))

    def share_of(names: Collection[str]) -> float | None:
        if products is None or not products.multiply_adds:
            return None
        mine = sum(product.multiply_adds for name, product in products.found.items() if name in names)
        mine += sum(work for name, work in products.also_multiplied.items() if name in names)
        return min(1.0, mine / products.multiply_adds)

    large = [
        {"name": name, "size": size, "reason": dense.get(name) or _reason(model, name, products)}
        for name, size in sizes.items()
        if name not in nested and size > _LARGE * total and matrices[name]
    ]
    return {
        "parameters": sum(size for name, size in sizes.items() if name in nested) / total,
        "multiply_adds": share_of(nested),
        "depthwise_multiply_adds": share_of({weight.name for weight in depthwise}),
        "activation_multiply_adds": None
        if products is None or not products.multiply_adds
        else 1.0 - products.with_weights / products.multiply_adds,
        "dense": large,
    }


def _reason(model: nn.Module, name: str, products: Products | None) -> str:
    from torch import nn

    owner = model.get_submodule(name.rpartition(".")[0])
    also = products is not None and name in products.also_multiplied
    if isinstance(owner, (nn.Embedding, nn.EmbeddingBag)):
        return (
            "it is an embedding, and the head that is tied to it"
            if also
            else "it is looked up, not multiplied with"
        )
    if products is None:
        return "its layer is of no known class; a run would show its use: give --input-shape or --data"
    if name in products.reasons:
        return products.reasons[name] + (", beside products" if also else "")
    if name in products.found:
        return "it was left out by a pattern or does not fit the granularity"
    return "the network did not use it"


def sentences(found: dict[str, Any]) -> list[str]:
    """Return a coverage in words."""
    work = "" if found["multiply_adds"] is None else f" and {found['multiply_adds']:.1%} of the multiply-adds"
    dense = [
        f"{entry['name']} ({entry['size']:,} weights) stays dense: {entry['reason']}."
        for entry in found["dense"]
    ]
    between = found.get("activation_multiply_adds") or 0.0
    attention = (
        [f"{between:.1%} of the multiply-adds are of activations with each other, which have no weights."]
        if between > _LARGE
        else []
    )
    return [f"{found['parameters']:.1%} of the parameters{work} are nested.", *attention, *dense]
