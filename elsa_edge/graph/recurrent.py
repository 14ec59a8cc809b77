"""LSTM and GRU whose length is free: one operator for torch.export, where it would unroll the loop over time.

    aten::lstm(x, ...)  --torch.export-->  T cells, T fixed        elsa_edge::lstm(x, ...)  -->  one ONNX LSTM, T free

torch.export takes both layers apart, step by step, when it works out their shapes, which makes a number of a free
length. Here they are called through operators of ours, with the same arguments, that only say their shapes; the ONNX
exporter translates them as it translates torch's own.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import _VF, Tensor

__all__ = ["recurrent_layers_whole", "translations"]

_STATES: Final = {"lstm": 2, "gru": 1}
_ARGUMENTS: Final = (
    "Tensor x, Tensor[] states, Tensor[] weights, bool has_biases, int num_layers, float dropout, bool train, "
    "bool bidirectional, bool batch_first"
)


@functools.cache
def _defined() -> None:
    """Define the operators, once a process: what they compute is torch's, their shapes are said without computing."""
    for name, states in _STATES.items():
        qualified = f"elsa_edge::{name}"
        torch.library.define(qualified, f"({_ARGUMENTS}) -> ({', '.join(['Tensor'] * (1 + states))})")
        torch.library.impl(
            qualified, "CompositeExplicitAutograd", functools.partial(_computed, getattr(torch, name), states)
        )
        torch.library.register_fake(qualified, _shapes)


def _computed(layer: Callable[..., Any], count: int, x: Tensor, states: list[Tensor], *rest: Any) -> Any:
    return layer(x, states if count > 1 else states[0], *rest)


def _shapes(x: Tensor, states: list[Tensor], _weights: list[Tensor], *rest: Any) -> tuple[Tensor, ...]:
    """Return empty results: output `(N, T, C)` or `(T, N, C)` as x is laid out, and the last states."""
    _has_biases, _num_layers, _dropout, _train, bidirectional, _batch_first = rest
    channels = states[0].shape[-1] * (2 if bidirectional else 1)
    return x.new_empty((*x.shape[:2], channels)), *(torch.empty_like(state) for state in states)


def _called(name: str, torchs: Callable[..., Any]) -> Callable[..., Any]:
    operator = getattr(torch.ops.elsa_edge, name)

    def call(x: Tensor, *rest: Any) -> Any:
        states = [rest[0]] if isinstance(rest[0], Tensor) else list(rest[0])
        # A packed sequence passes its batch sizes, whole numbers, where others pass their states.
        return operator(x, states, *rest[1:]) if states[0].is_floating_point() else torchs(x, *rest)

    return call


@contextlib.contextmanager
def recurrent_layers_whole() -> Iterator[None]:
    """Let `nn.LSTM` and `nn.GRU` call the operators of this file."""
    _defined()
    with contextlib.ExitStack() as undo:
        for name in _STATES:
            setattr(_VF, name, _called(name, getattr(_VF, name)))
            undo.callback(delattr, _VF, name)
        yield


def translations() -> dict[Any, Callable[..., Any]]:
    """Return how the ONNX exporter is to translate the operators of this file."""
    from onnxscript.function_libs.torch_lib.ops.core import aten_gru, aten_lstm

    _defined()

    def gru(x: Any, states: Any, *rest: Any) -> Any:
        return aten_gru(x, states[0], *rest)

    return {torch.ops.elsa_edge.lstm.default: aten_lstm, torch.ops.elsa_edge.gru.default: gru}
