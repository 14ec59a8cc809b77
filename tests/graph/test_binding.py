"""Inputs feed the arguments that they are named after; everything else is refused."""

import numpy as np
import pytest
import torch
from support.zoo import trained_like
from torch import nn

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import UsageError
from elsa_edge.graph.binding import bind_inputs
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.levels import Ladder
from elsa_edge.tensors import TensorSpec


class Optional(nn.Module):
    """An argument that is usually left out, one by keyword only, one with a default that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x, bias=None, mask=None, *, scale=None, verbose=False):
        y = self.linear(x)
        y = y if bias is None else y + bias
        y = y if mask is None else y * mask
        return y if scale is None else y * scale


class Needs(nn.Module):
    """Two arguments that must be given, the second by keyword only."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, image, *, meta):
        return self.linear(image) + meta


class Free(nn.Module):
    """A forward whose arguments have no names."""

    def forward(self, *parts):
        return parts[0]


def names(specs):
    return [spec.name for spec in specs]


def checkpoint(model):
    state = trained_like(model)
    index = np.zeros(state["linear.weight"].shape, np.uint8)
    index[0] = 1
    return NestedCheckpoint(state, {"linear.weight": index}, {}, Ladder.from_sparsities((0.3, 0.0)))


def test_an_input_without_a_name_gets_its_argument_s():
    """`forward(self, x, ...)` has an input `x`."""
    binding = bind_inputs(Optional(), [TensorSpec("", (1, 4))])
    assert names(binding.inputs) == ["x"]
    assert (names(binding.positional), names(binding.keyword)) == (["x"], [])


def test_a_gap_is_bridged_by_keywords():
    """What follows an argument that is left out is passed by name."""
    binding = bind_inputs(Optional(), [TensorSpec("mask", (1, 3)), TensorSpec("", (1, 4))])
    assert (names(binding.positional), names(binding.keyword)) == (["x"], ["mask"])


@pytest.mark.parametrize(
    ("model", "given", "call"),
    [
        (Optional(), {"x": (1, 4), "mask": (1, 3)}, lambda m, a: m(a["x"], mask=a["mask"])),
        (Optional(), {"scale": (1, 3), "x": (1, 4)}, lambda m, a: m(a["x"], scale=a["scale"])),
        (Optional(), {"x": (1, 4), "bias": (1, 3)}, lambda m, a: m(a["x"], a["bias"])),
        (Needs(), {"meta": (1, 3), "image": (1, 4)}, lambda m, a: m(a["image"], meta=a["meta"])),
    ],
    ids=["a gap", "keyword only", "in order", "needed keyword"],
)
def test_the_graph_computes_what_the_named_call_computes(model, given, call):
    """Not what the same tensors in another order would give."""
    graph = export_canonical(checkpoint(model), model, [TensorSpec(n, shape) for n, shape in given.items()])
    generator = np.random.default_rng(3)
    arrays = {n: generator.standard_normal((5, *shape[1:])).astype(np.float32) for n, shape in given.items()}
    assert set(graph.inputs) == set(given)
    with torch.no_grad():
        expected = call(model.eval(), {n: torch.from_numpy(a) for n, a in arrays.items()}).numpy()
    (found,) = run_canonical(graph, arrays)[-1].values()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        (Optional(), [TensorSpec("y", (1, 4))], r"no argument 'y'.*Allowed: x, bias, mask, scale, verbose"),
        (Optional(), [TensorSpec("", (1, 4)), TensorSpec("maks", (1, 3))], "Nearest: 'mask'"),
        (Needs(), [TensorSpec("image", (1, 4))], "needs meta"),
        (Needs(), [TensorSpec("", (1, 4)), TensorSpec("", (1, 3))], "more inputs than arguments"),
        (Optional(), [TensorSpec("mask", (1, 3))], "needs x"),
    ],
    ids=["unknown", "misspelt", "missing keyword", "too many", "missing"],
)
def test_inputs_that_do_not_fit_are_refused(model, inputs, words):
    """Nothing lands in the place of something else."""
    with pytest.raises(UsageError, match=words):
        bind_inputs(model, inputs)


def test_arguments_without_names_keep_the_order_given():
    """`forward(*parts)` has nothing to be named after."""
    assert names(bind_inputs(Free(), [TensorSpec("", (1,))]).inputs) == ["input"]
    binding = bind_inputs(Free(), [TensorSpec("", (1,)), TensorSpec("b", (1,))])
    assert (names(binding.inputs), binding.variadic) == (["input_1", "b"], True)
