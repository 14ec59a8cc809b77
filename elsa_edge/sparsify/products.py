"""Which parameters a network multiplies with, seen at torch's lowest level while it runs once.

    parameter --views, casts, selections--> operand of a matrix product or convolution

A parameter whose numbers are changed on the way (normalised, added to) or used otherwise (looked up, added to an
activation) is not one that zeros make cheaper; it gets a reason instead. Works for any network: nothing depends on the
classes of its modules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Product", "Products", "trace_products"]

# Place of both factors among the arguments.
_MATRIX_PRODUCTS: Final = {
    "mm": (0, 1),
    "addmm": (1, 2),
    "bmm": (0, 1),
    "baddbmm": (1, 2),
    "mv": (0, 1),
    "addmv": (1, 2),
}
_CONVOLUTIONS: Final = frozenset({"convolution", "mkldnn_convolution", "_slow_conv2d_forward"})
_RECURRENT: Final = frozenset({"mkldnn_rnn_layer", "lstm", "gru", "rnn_tanh", "rnn_relu"})
# The result holds numbers of the first argument (or of a list of them), unchanged.
_MOVES: Final = frozenset(
    {
        "view",
        "_unsafe_view",
        "reshape",
        "_reshape_alias",
        "_reshape_copy",
        "t",
        "transpose",
        "permute",
        "expand",
        "slice",
        "select",
        "squeeze",
        "unsqueeze",
        "split",
        "split_with_sizes",
        "chunk",
        "unbind",
        "as_strided",
        "alias",
        "detach",
        "clone",
        "contiguous",
        "_to_copy",
        "cat",
        "stack",
        "index",
        "index_select",
        "narrow",
        "lift_fresh",
        "flip",
        "roll",
    }
)
_ASK_ONLY: Final = frozenset({"sym_size", "size", "numel", "is_same_size", "zeros_like", "empty_like"})


@dataclass(slots=True)
class Product:
    """How a parameter is multiplied with.

    Attributes:
        kind: `conv`, `conv_transpose`, `linear` (out, in), `linear_in_out` (in, out) or `recurrent`; the last two
            dimensions count, those before them are several matrices.
        groups: Of a convolution.
        multiply_adds: In the run that was watched.
    """

    kind: str
    groups: int = 1
    multiply_adds: int = 0


@dataclass(slots=True)
class Products:
    """What a run of a network multiplied with.

    Attributes:
        found: Parameter name -> its product.
        reasons: Parameter name -> why it is none, for parameters that were used otherwise.
        multiply_adds: Of the whole run, products of activations included.
        with_weights: Those of them in which one factor is a parameter.
        also_multiplied: Names in `reasons` that products are made with, too (an embedding that is the head as well)
            -> their multiply-adds.
    """

    found: dict[str, Product] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    multiply_adds: int = 0
    with_weights: int = 0
    also_multiplied: dict[str, int] = field(default_factory=dict)


def trace_products(
    model: nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any] | None = None
) -> Products:
    """Run `model` once in evaluation mode and return which parameters it multiplied with.

    Args:
        model: The network; its mode is restored.
        arguments: Positional arguments of `forward`.
        keywords: Keyword arguments of `forward`.

    Raises:
        Exception: Whatever the network raises.
    """
    import warnings

    import torch

    tracker = _Tracker({name: tensor.detach() for name, tensor in model.named_parameters()})
    training, fast = model.training, torch.backends.mha.get_fastpath_enabled()
    model.eval()
    # The fast path is one fused operator, in which weights cannot be told apart.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # torch's own warnings, of switching off oneDNN, whose operators hide the weights
            warnings.simplefilter("ignore")
            with torch.backends.mkldnn.flags(enabled=False), _watching(tracker):
                model(*arguments, **dict(keywords or {}))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        model.train(training)
    for name in tracker.products.reasons:
        product = tracker.products.found.pop(name, None)
        if product is not None:
            tracker.products.also_multiplied[name] = product.multiply_adds
    return tracker.products


def _watching(tracker: _Tracker) -> Any:
    """Return a mode of torch that shows each low-level operator to `tracker` after it has run."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch left its __init_subclass__ untyped
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            tracker.see(func.overloadpacket.__name__, args, kwargs or {}, result)
            return result

    return Watching()  # type: ignore[no-untyped-call]  # the same of its __init__


class _Tracker:
    """Follows parameters through views and moves to the products that they end in."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.products = Products()
        self._parameters = parameters
        self._names = {tensor.untyped_storage().data_ptr(): name for name, tensor in parameters.items()}
        # While a moved copy is remembered by its address, its memory must not be used again.
        self._kept: list[Tensor] = []

    def see(self, operator: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Take note of one operator that has run."""
        used = [(value, name) for value in _flat((*args, *kwargs.values())) if (name := self._name_of(value))]
        if operator in _MATRIX_PRODUCTS or operator in _CONVOLUTIONS:
            work = _work(operator, args, result)
            self.products.multiply_adds += work
            self._multiplied(operator, args, used, work)
        elif operator in _MOVES:
            if used:
                self._moved(_flat([result]), used[0][1])
        elif operator in _RECURRENT:
            for value, name in used:
                if value.dim() == 2:
                    self.products.found.setdefault(name, Product("recurrent"))
        elif operator not in _ASK_ONLY:
            for _, name in used:
                self.products.reasons.setdefault(name, f"it is used by {operator}, which is no product")

    def _name_of(self, value: Any) -> str | None:
        import torch

        return (
            self._names.get(value.untyped_storage().data_ptr()) if isinstance(value, torch.Tensor) else None
        )

    def _moved(self, results: Sequence[Any], name: str) -> None:
        import torch

        for result in results:
            if isinstance(result, torch.Tensor) and self._name_of(result) is None:
                self._names[result.untyped_storage().data_ptr()] = name
                self._kept.append(result)

    def _multiplied(
        self, operator: str, args: Sequence[Any], used: Sequence[tuple[Tensor, str]], work: int
    ) -> None:
        places = (1,) if operator in _CONVOLUTIONS else _MATRIX_PRODUCTS[operator]
        operands = {id(args[place]): place for place in places}
        if any(id(value) in operands for value, _ in used):
            self.products.with_weights += work
        for value, name in used:
            place = operands.get(id(value))
            if place is None:
                continue  # a bias
            if operator in _CONVOLUTIONS:
                kind, groups = ("conv_transpose" if _is_transposed(args) else "conv"), _groups(args)
            else:
                kind, groups = _orientation(value, self._parameters[name], first=place == places[0]), 1
            self.products.found.setdefault(name, Product(kind, groups)).multiply_adds += work


def _flat(values: Sequence[Any]) -> list[Any]:
    return [item for value in values for item in (value if isinstance(value, (list, tuple)) else (value,))]


def _is_transposed(args: Sequence[Any]) -> bool:
    return len(args) > 6 and bool(args[6])


def _groups(args: Sequence[Any]) -> int:
    return int(args[8]) if len(args) > 8 else 1


def _orientation(operand: Tensor, parameter: Tensor, *, first: bool) -> str:
    """Return whether the parameter's last dimension is the one that the product sums over.

    A @ B sums over A's last and B's last but one dimension; strides tell which of the parameter's that is.
    """
    summed = operand.stride(-1) if first else operand.stride(-2 if operand.dim() > 1 else -1)
    same_storage = operand.untyped_storage().data_ptr() == parameter.untyped_storage().data_ptr()
    lengths = operand.shape[-1] if first else operand.shape[-2 if operand.dim() > 1 else -1]
    if same_storage and parameter.dim() >= 2:
        return "linear" if summed == parameter.stride(-1) else "linear_in_out"
    return "linear" if parameter.dim() < 2 or lengths == parameter.shape[-1] else "linear_in_out"


def _work(name: str, args: Sequence[Any], result: Any) -> int:
    """Return the multiply-adds of one product."""
    if name in _CONVOLUTIONS:
        weight = args[1]
        positions = args[0].numel() if _is_transposed(args) else result.numel()
        return int(positions) * int(math.prod(weight.shape[1:]))
    first = args[_MATRIX_PRODUCTS[name][0]]
    return int(result.numel()) * int(first.shape[-1])
