"""Which weights can be sparse: those that the network multiplies with, in convolutions and matrix products.

    rows(W) : (out, in / groups, *kernel)     one row per output channel, whatever the layer's own layout

torch's own layers are known by their classes; any other parameter is found by a run of the network (products.py).
Embeddings, norms and biases stay dense. A parameter used under several names (tied) is one weight, counted
once; it stays dense when one of its uses is not a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from elsa_edge.errors import CheckpointError, UsageError, closest
from elsa_edge.sparsify.products import Product, Products

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Prunable", "choose", "find_prunable"]

_RECURRENT: Final = ("weight_ih", "weight_hh", "weight_hr")
_ATTENTION: Final = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass(frozen=True, slots=True)
class Prunable:
    """One weight that can be nested.

    Attributes:
        name: Its state_dict name.
        shape: Its shape in the state_dict.
        kind: `conv`, `conv_transpose`, `linear`, `linear_in_out` (its last two dimensions are (in, out)), `recurrent`
            or `attention`.
        groups: Groups of a convolution, else 1.
        module: Name of the module that owns it ("" for the network itself).
        aliases: Further state_dict names of the same tensor.
        traced: Found by a run, not by its layer's class: which bias belongs to it is not known.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    groups: int = 1
    module: str = ""
    aliases: tuple[str, ...] = ()
    traced: bool = False

    @property
    def size(self) -> int:
        """Number of weights."""
        total = 1
        for length in self.shape:
            total *= length
        return total

    @property
    def depthwise(self) -> bool:
        """Whether each output channel sees a single input channel of several."""
        return self.groups > 1 and self.row_shape[1] == 1

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of `rows`: (out, in / groups, *kernel)."""
        import torch

        return tuple(self.rows(torch.empty(self.shape, device="meta")).shape)

    def rows(self, tensor: Tensor) -> Tensor:
        """Return `tensor` (of this weight's shape) as `(out, in / groups, *kernel)`."""
        if self.kind == "linear_in_out":
            return tensor.transpose(-1, -2).reshape(-1, self.shape[-2])
        if self.kind == "linear" and len(self.shape) > 2:
            return tensor.reshape(-1, self.shape[-1])
        if self.kind != "conv_transpose":
            return tensor
        # (in, out / g, *k) -> (g, in / g, out / g, *k) -> (g, out / g, in / g, *k) -> (out, in / g, *k)
        split = tensor.reshape(self.groups, -1, *self.shape[1:])
        return split.transpose(1, 2).reshape(-1, split.shape[1], *self.shape[2:])

    def from_rows(self, rows: Tensor) -> Tensor:
        """Undo `rows`."""
        if self.kind == "linear_in_out":
            return rows.reshape(*self.shape[:-2], self.shape[-1], self.shape[-2]).transpose(-1, -2)
        if self.kind == "linear" and len(self.shape) > 2:
            return rows.reshape(self.shape)
        if self.kind != "conv_transpose":
            return rows
        split = rows.reshape(self.groups, self.shape[1], -1, *self.shape[2:])
        return split.transpose(1, 2).reshape(self.shape)


def _kinds(module: nn.Module) -> dict[str, str]:
    """Return parameter name -> kind for the prunable parameters that `module` itself owns."""
    from torch import nn

    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    if isinstance(module, convolutions):
        return {"weight": "conv"}
    if isinstance(module, transposed):
        return {"weight": "conv_transpose"}
    if isinstance(module, nn.Linear):
        return {"weight": "linear"}
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return {name: "recurrent" for name in module._parameters if name.startswith(_RECURRENT)}  # noqa: SLF001 - torch's own table
    if isinstance(module, nn.MultiheadAttention):
        return dict.fromkeys(_ATTENTION, "attention")
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # of transformers: x @ weight + bias
        return {"weight": "linear_in_out"}
    return {}


def find_prunable(
    model: nn.Module, products: Products | None = None, include: Sequence[str] = ()
) -> list[Prunable]:
    """Return the weights of `model` that can be nested, in the order of its state_dict.

    Args:
        model: The network.
        products: What a run of it multiplied with; without, only torch's own layers and those known by class are found.
        include: Patterns of what is asked for: an embedding is found where one names it, and `*` alone names none.

    Raises:
        CheckpointError: When a lazy module has not seen its first input, so its shapes are unknown.
    """
    from torch.nn.parameter import is_lazy

    uses: dict[int, list[tuple[str, str | None, str, nn.Module]]] = {}
    tensors: dict[int, Tensor] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        kinds = _kinds(module)
        for local, parameter in module._parameters.items():  # noqa: SLF001 - named_parameters hides tied names
            if parameter is None:
                continue
            name = f"{prefix}.{local}" if prefix else local
            if is_lazy(parameter):
                raise CheckpointError(
                    f"{name} has no shape yet (lazy module)", fix="Let the factory run the network once"
                )
            tensors[id(parameter)] = parameter
            uses.setdefault(id(parameter), []).append((name, kinds.get(local), prefix, module))
    found = []
    for key, named in uses.items():
        kinds_of_uses = {kind for _, kind, _, _ in named}
        name, kind, prefix, module = named[0]
        groups = int(getattr(module, "groups", 1)) if kind is not None and kind.startswith("conv") else 1
        traced = kind is None or None in kinds_of_uses
        if traced:
            product = _product_of([other for other, _, _, _ in named], products)
            if product is None and _is_asked_for(named, include):
                product = Product("linear")
            if product is None or tensors[key].dim() < 2:
                continue
            kind, groups = product.kind, product.groups
        if tensors[key].numel() == 0:
            continue
        assert kind is not None
        found.append(
            Prunable(
                name=name,
                shape=tuple(tensors[key].shape),
                kind=kind,
                groups=groups,
                module=prefix,
                aliases=tuple(other for other, _, _, _ in named[1:]),
                traced=traced,
            )
        )
    order = {name: position for position, name in enumerate(model.state_dict(keep_vars=True))}
    return sorted(found, key=lambda weight: order.get(weight.name, len(order)))


def _is_asked_for(named: Sequence[tuple[str, str | None, str, nn.Module]], patterns: Sequence[str]) -> bool:
    """Tell whether a pattern names a table that is looked up, perhaps tied to a head."""
    from torch import nn

    looked_up = any(isinstance(module, nn.Embedding) for *_, module in named)
    return looked_up and any(p != "*" and fnmatchcase(name, p) for name, *_ in named for p in patterns)


def _product_of(names: Sequence[str], products: Products | None) -> Product | None:
    """Return how a parameter that is no known layer's was multiplied with; None where it was used otherwise too."""
    if products is None:
        return None
    return next((products.found[name] for name in names if name in products.found), None)


def _matches(weight: Prunable, pattern: str) -> bool:
    names = (weight.name, weight.module, *weight.aliases)
    return any(fnmatchcase(name, pattern) for name in names)


def choose(
    weights: Sequence[Prunable], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[Prunable]:
    """Return the weights that some include pattern (or none given) and no exclude pattern matches.

    Args:
        weights: What `find_prunable` found.
        include: Shell patterns on weight names (`head.weight`) or module names (`layer?.*`); empty takes all.
        exclude: The same; wins over include.

    Raises:
        UsageError: When a pattern matches no prunable weight, or nothing is left.
    """
    if not weights:
        raise UsageError(
            "This network has no weight that can be sparse",
            expected="weights that it multiplies with: convolutions, linear layers, LSTM, GRU, attention",
            fix="Layers of other classes are found by a run: give --input-shape or --data",
        )
    names = [name for weight in weights for name in (weight.name, weight.module)]
    for pattern in (*include, *exclude):
        if not any(_matches(weight, pattern) for weight in weights):
            near = closest(pattern, names)
            raise UsageError(
                f"The pattern {pattern!r} matches no weight that can be sparse",
                allowed=[weight.name for weight in weights[:12]] + (["..."] if len(weights) > 12 else []),
                fix=f"Nearest: {near!r}" if near else None,
            )
    chosen = [
        weight
        for weight in weights
        if (not include or any(_matches(weight, p) for p in include))
        and not any(_matches(weight, p) for p in exclude)
    ]
    if not chosen:
        raise UsageError("The include and exclude patterns leave no weight to make sparse")
    return chosen
