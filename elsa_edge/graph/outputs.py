"""What a network answers, as named tensors: all of it, or only the outputs and inner modules that are asked for.

    forward(x) -> {"boxes": b, "scores": [s, s2]}        boxes, scores_0, scores_1
    --outputs backbone.layer4                            what that module returns; nothing behind it is run

A name stands once: in the graph, outputs, inputs and weights share one space of names.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elsa_edge.errors import ExportError, UnknownNameError
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.tensors import DTYPES

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Answer", "answering"]


class _Enough(Exception):  # noqa: N818 - no error: everything that was asked for is there
    """Leaves forward when the wanted modules have run."""


@dataclass(frozen=True)
class Answer:
    """The outputs of a network whose forward returns them as a tuple.

    Attributes:
        names: Output names, in order.
        notes: Sentences on what is renamed or left out.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...]


@contextlib.contextmanager
def answering(
    model: torch.nn.Module,
    arguments: Sequence[Tensor],
    keywords: Mapping[str, Tensor],
    wanted: Sequence[str] = (),
    taken: Sequence[str] = (),
) -> Iterator[Answer]:
    """Make `model(...)` return the wanted tensors alone, as a tuple, while the block lasts.

    Args:
        model: The network; its forward is as before afterwards.
        arguments: Positional arguments of a call that shows what it returns.
        keywords: Its keyword arguments.
        wanted: Names of outputs, or of modules whose results are wanted; empty for all outputs.
        taken: Names that no output may have: the inputs'.

    Raises:
        ExportError: When nothing that it returns is a tensor, or an output has a reserved name.
        UnknownNameError: When a wanted name is neither an output nor a module.
    """
    forward: Callable[..., Any] = model.forward
    own = "forward" in vars(model)
    modules = dict(model.named_modules())
    taps: dict[str, Any] = {}
    tapped: list[str] = []
    handles: list[Any] = []

    def run(*args: Any, **kwargs: Any) -> list[tuple[str, Any]]:
        taps.clear()
        entered = _entered_modules()
        depth = len(entered)
        try:
            result = forward(*args, **kwargs)
        except _Enough:
            while len(entered) > depth:  # a trace takes a module off its list only when the module returns
                entered.popitem()
        else:
            if not tapped:
                return _leaves(result)
        return _leaves({name: taps[name] for name in tapped if name in taps})

    @functools.wraps(forward)
    def answer(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        found = [(name, value) for name, value in run(*args, **kwargs) if _is_tensor(value)]
        chosen = found if not wanted or tapped else [pair for pair in found if pair[0] in wanted]
        taps.clear()
        return _apart([value for _, value in chosen], [*args, *kwargs.values()], model)

    try:
        leaves = run(*arguments, **keywords)
        outputs = [name for name, value in leaves if _is_tensor(value)]
        if not set(wanted) <= set(outputs):
            _check_known(wanted, outputs, modules)
            tapped.extend(wanted)
            handles.extend(modules[name].register_forward_hook(_tap(name, taps, tapped)) for name in wanted)
            leaves = run(*arguments, **keywords)
            if len(taps) < len(tapped):
                raise ExportError(
                    "A wanted module does not run in forward", found=", ".join(set(tapped) - set(taps))
                )
        names, notes = _names(leaves, wanted if not tapped else (), taken)
        model.forward = answer
        yield Answer(names, notes)
    finally:
        for handle in handles:
            handle.remove()
        if own:
            model.forward = forward
        else:
            vars(model).pop("forward", None)


def _entered_modules() -> dict[str, Any]:
    """Return the list of modules that a running trace of torch.export is in; an empty one outside a trace."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    tracer = getattr(get_proxy_mode(), "tracer", None)
    found: dict[str, Any] = getattr(tracer, "module_stack", {})
    return found


def _check_known(wanted: Sequence[str], outputs: Sequence[str], modules: Mapping[str, Any]) -> None:
    """Refuse a name that is neither an output nor a module; outputs and modules do not mix."""
    near_the_top = [name for name in modules if name and name.count(".") < 2][:30]
    for name in wanted:
        if name not in modules or not name:
            raise UnknownNameError("output or module", name, [*outputs, *near_the_top])


def _tap(name: str, taps: dict[str, Any], tapped: Sequence[str]) -> Callable[..., None]:
    def hook(_module: Any, _inputs: Any, result: Any) -> None:
        taps.setdefault(name, result)
        if len(taps) == len(tapped):
            raise _Enough

    return hook


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _leaves(result: object) -> list[tuple[str, Any]]:
    """Name what a call returned: "output" for one tensor, keys, or "output_0", "output_1", ..."""
    from torch.utils._pytree import tree_flatten_with_path

    leaves, _ = tree_flatten_with_path(result)
    named = []
    for path, leaf in leaves:
        if leaf is None:
            continue
        keys = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
        name = "_".join(re.sub(r"\W+", "_", key).strip("_") for key in keys)
        named.append((f"output_{name}" if name.isdigit() else (name or "output"), leaf))
    return named


def _names(
    leaves: Sequence[tuple[str, Any]],
    wanted: Sequence[str],
    taken: Sequence[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tensors = [name for name, value in leaves if _is_tensor(value)]
    if not tensors:
        kinds = ", ".join(sorted({type(value).__name__ for _, value in leaves})) or "nothing"
        raise ExportError(
            "The network returns no tensor",
            found=kinds,
            fix="Let forward return tensors, or cut: --outputs NAME",
        )
    notes = [
        f"{name} is {type(value).__name__} and no tensor: it is left out."
        for name, value in leaves
        if not _is_tensor(value) and not wanted
    ]
    names: list[str] = []
    for name in tensors:
        if wanted and name not in wanted:
            continue
        if name == LEVEL_INPUT:
            raise ExportError(
                f"The network returns an output named {LEVEL_INPUT!r}, which is reserved",
                fix="Call it something else in forward",
            )
        free = name if name not in taken else f"{name}_output"
        number = 2
        while free in names or free in taken:
            free = f"{name}_{number}"
            number += 1
        if free != name:
            notes.append(f"The output {name} is called {free}: the name is taken.")
        names.append(free)
        _require_known_type(free, dict(leaves)[name])
    return tuple(names), tuple(notes)


def _require_known_type(name: str, tensor: Any) -> None:
    """Refuse an output that no bundle can hold, before anything is traced and compared."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype in DTYPES:
        return
    instead = {
        "bfloat16": "x.float()",
        "complex64": "torch.view_as_real(x)",
        "complex128": "torch.view_as_real(x)",
    }
    raise ExportError(
        f"The output {name} has a type that a bundle cannot hold",
        expected=", ".join(DTYPES),
        found=dtype,
        fix=f"Return {instead.get(dtype, 'x.to(torch.int32)')} from forward, or keep others only: --outputs NAME",
    )


def _apart(tensors: Sequence[Tensor], given: Sequence[object], model: torch.nn.Module) -> tuple[Tensor, ...]:
    """Return tensors that are each their own: not an input, a weight, or an output that is there already."""
    held = {id(value) for value in given}
    held |= {id(value) for value in (*model.parameters(), *model.buffers())}
    result = []
    for tensor in tensors:
        result.append(tensor.clone() if id(tensor) in held else tensor)
        held.add(id(tensor))
    return tuple(result)
