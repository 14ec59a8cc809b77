"""nn.Module + nested checkpoint -> canonical graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.zoo import ZOO, nested_checkpoint
from torch import nn

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import CheckpointError, ContractError, ExportError
from elsa_edge.graph.against_torch import differences_from_torch
from elsa_edge.graph.binding import bind_inputs
from elsa_edge.graph.check import check_contract
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.levels import Ladder
from elsa_edge.tensors import TensorSpec


def one_weight(model, name="weight", sparsities=(0.5, 0.0)):
    """Random levels for one weight of a model."""
    state = {n: t.detach().numpy().copy() for n, t in model.state_dict().items()}
    index = np.random.default_rng(0).integers(0, len(sparsities), state[name].shape).astype(np.uint8)
    return NestedCheckpoint(state, {name: index}, {}, Ladder.from_sparsities(sparsities))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", sorted(ZOO))
def test_equal_to_torch_at_every_level_and_batch(canonical, name, batch):
    """The graph computes what torch computes with masked weights and the level's norms."""
    entry = ZOO[name]
    checkpoint, model = nested_checkpoint(entry)
    binding = bind_inputs(model, entry.inputs)
    examples = example_inputs(binding.inputs, batch, seed=7)
    differences = differences_from_torch(canonical(name), checkpoint, model, binding, examples)
    assert len(differences) == len(entry.sparsities)
    pairs = [pair for outputs in differences for pair in outputs.values()]
    assert all(difference <= 1e-5 * scale for difference, scale in pairs)


def test_levels_really_differ(any_graph):
    """The comparison with torch would notice a level input that does nothing."""
    if len(any_graph.ladder) == 1:
        assert any_graph.ladder[0].density < 1
        return
    answers = run_canonical(any_graph, example_inputs(list(any_graph.inputs.values()), 2))
    name = next(iter(any_graph.outputs))
    assert not np.allclose(answers[0][name], answers[-1][name])


def test_weights_keep_their_names_and_bits(canonical):
    """Initializers are called as in the state_dict and hold its exact numbers."""
    graph = canonical("conv")
    checkpoint, _ = nested_checkpoint(ZOO["conv"])
    assert set(graph.nested) == set(checkpoint.indices)
    assert set(graph.tables) == set(checkpoint.tables)
    for name in graph.nested:
        assert graph.weight(name).tobytes() == checkpoint.weights[name].tobytes()
        assert graph.index(name).tobytes() == checkpoint.indices[name].tobytes()


def test_inputs_and_outputs_have_people_s_names(canonical):
    """Input names are the user's, output names the dictionary's keys; the batch is free."""
    graph = canonical("two_inputs")
    assert graph.inputs == {
        "x": TensorSpec("x", (None, 6, 20)),
        "offset": TensorSpec("offset", (None, 3)),
    }
    assert list(graph.outputs) == ["logits", "features"]


def test_what_the_network_never_computes_with_is_left_out(canonical):
    """A layer that forward does not call is not in the graph, and the densities do not count it."""
    graph = canonical("two_inputs")
    assert "unused.weight" not in graph.nested
    assert graph.densities == pytest.approx([level.density for level in graph.ladder])


def test_a_tied_weight_is_found_under_the_name_that_the_graph_keeps():
    """Nesting either name of a tied parameter nests the one tensor there is."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 6, bias=False)
            self.b = nn.Linear(6, 6, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.relu(self.a(x)))

    model = Tied()
    state = {n: t.detach().numpy().copy() for n, t in model.state_dict().items()}
    index = np.random.default_rng(0).integers(0, 2, (6, 6)).astype(np.uint8)
    checkpoint = NestedCheckpoint(state, dict.fromkeys(state, index), {}, Ladder.from_sparsities([0.5, 0.0]))
    graph = export_canonical(checkpoint, model, [TensorSpec("x", (1, 6))])
    assert len(graph.nested) == 1


def test_the_model_is_given_back_as_it_was():
    """Weights are those of the checkpoint, the mode is the caller's."""
    checkpoint, model = nested_checkpoint(ZOO["mlp"])
    model.train()
    export_canonical(checkpoint, model, ZOO["mlp"].inputs)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.numpy().tobytes() == checkpoint.weights[name].tobytes()


class TestBadInput:
    def test_a_checkpoint_of_another_model(self):
        """Missing, unknown and reshaped tensors are listed."""
        checkpoint = one_weight(nn.Linear(3, 4))
        with pytest.raises(CheckpointError, match=r"of another shape: weight \(5, 3\) != \(4, 3\)"):
            export_canonical(checkpoint, nn.Linear(3, 5), [TensorSpec("input", (1, 3))])
        with pytest.raises(
            CheckpointError, match=r"missing: 0\.bias, 0\.weight; not in the model: bias, weight"
        ):
            export_canonical(checkpoint, nn.Sequential(nn.Linear(3, 4)), [TensorSpec("input", (1, 3))])

    def test_inputs_that_the_model_does_not_take(self):
        """A wrong --input-shape is named before torch's exporter runs."""
        model = nn.Linear(3, 4)
        with pytest.raises(ExportError, match="cannot be called with these inputs"):
            export_canonical(one_weight(model), model, [TensorSpec("input", (1, 7))])

    def test_an_operator_without_onnx_form_is_named_with_its_module(self):
        """The user learns which operator in which layer."""

        class Strange(nn.Module):
            def forward(self, x):
                return torch.linalg.svdvals(x.unsqueeze(1))

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(3, 4)
                self.odd = Strange()

            def forward(self, x):
                return self.odd(self.linear(x))

        model = Net()
        with pytest.raises(ExportError, match=r"svd.*in module .*odd.* of type Strange"):
            export_canonical(one_weight(model, "linear.weight"), model, [TensorSpec("x", (1, 3))])

    def test_control_flow_on_values_is_located(self):
        """A model that cannot be traced is answered with the line that is to blame."""

        class Branching(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(3, 4)

            def forward(self, x):
                return self.linear(x) if x.sum() > 0 else x

        model = Branching()
        with pytest.raises(
            ExportError, match=r"decides by the numbers.*test_export\.py:\d+ in forward: .*x\.sum"
        ):
            export_canonical(one_weight(model, "linear.weight"), model, [TensorSpec("x", (1, 3))])

    def test_randomness_in_evaluation_is_found(self):
        """A graph that does not repeat torch's numbers is never returned."""

        class Noisy(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(3, 4)

            def forward(self, x):
                return self.linear(x) + torch.rand_like(x[:, :1])

        model = Noisy()
        with pytest.raises(ContractError, match="does not compute what the model computes"):
            export_canonical(one_weight(model, "linear.weight"), model, [TensorSpec("x", (1, 3))])

    def test_nothing_nested(self):
        """A checkpoint without levels has nothing to switch."""
        model = nn.Linear(3, 4)
        state = {n: t.detach().numpy().copy() for n, t in model.state_dict().items()}
        checkpoint = NestedCheckpoint(state, {}, {}, Ladder.from_sparsities([0.0]))
        with pytest.raises(ExportError, match="No nested weight"):
            export_canonical(checkpoint, model, [TensorSpec("input", (1, 3))])

    def test_an_input_called_level(self):
        """The name is reserved, and the error says how to rename."""

        class Levelled(nn.Linear):
            def forward(self, level):
                return super().forward(level)

        model = Levelled(3, 4)
        with pytest.raises(ExportError, match="reserved"):
            export_canonical(one_weight(model), model, [TensorSpec("level", (1, 3))])


def test_the_graph_passes_its_own_contract(any_graph):
    """What export returns keeps format 1."""
    assert check_contract(any_graph) is any_graph


def test_an_input_that_is_also_an_output():
    """A network may hand an input through; names of inputs stay the user's."""

    class HandThrough(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 4)

        def forward(self, x):
            return self.linear(x), x

    model = HandThrough()
    graph = export_canonical(one_weight(model, "linear.weight"), model, [TensorSpec("x", (1, 3))])
    assert list(graph.inputs) == ["x"]
    assert list(graph.outputs) == ["output_0", "output_1"]


def test_several_arguments_without_names():
    """A forward with *args takes its inputs in the order given."""

    class Variadic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 4)

        def forward(self, *parts):
            return self.linear(parts[0] - 2 * parts[1])

    model = Variadic()
    inputs = [TensorSpec("a", (1, 3)), TensorSpec("b", (1, 3))]
    graph = export_canonical(one_weight(model, "linear.weight"), model, inputs)
    assert list(graph.inputs) == ["a", "b"]


def test_a_layer_that_torch_exports_wrongly_is_an_error():
    """ONNX has no LSTM with projection; the graph that torch writes does not run, and is not returned."""

    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 8, proj_size=4, batch_first=True)

        def forward(self, x):
            return self.lstm(x)[0]

    model = Projected()
    with pytest.raises(ExportError, match=r"does not run .*LSTM"):
        export_canonical(one_weight(model, "lstm.weight_ih_l0"), model, [TensorSpec("x", (1, 5, 3))])


@pytest.mark.parametrize("part", ['a"b', "a\\xb"])
def test_a_module_whose_name_is_no_python_is_named(part):
    """torch writes code with names of modules between quotes; what it then says names no module."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(part, nn.Linear(4, 4))

        def forward(self, x):
            return getattr(self, part)(x)

    model = Net()
    with pytest.raises(ExportError, match=r"A module has a name .* Rename it"):
        export_canonical(one_weight(model, f"{part}.weight"), model, [TensorSpec("x", (1, 4))])
