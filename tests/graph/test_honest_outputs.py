"""Outputs of honest networks are proved, however mixed their numbers; those that prove nothing are told or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.errors import ContractError, ExportError, InputError
from elsa_edge.golden_answers import golden_answers
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs


class Ends(nn.Module):
    """Two layers with something behind them; `end` is given the hidden numbers and the answer."""

    def __init__(self, end) -> None:
        super().__init__()
        self.a, self.b, self.end = nn.Linear(8, 64), nn.Linear(64, 12), end

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.end(h, self.b(h))


HONEST = {
    "boxes in pixels beside scores": lambda _, y: torch.cat([y[:, :4] * 640, y[:, 4:].sigmoid()], 1),
    "times beside probabilities": lambda _, y: torch.cat([y[:, :2] * 1e4, y[:, 2:].softmax(1)], 1),
    "softmax with tails": lambda _, y: (y * 40).softmax(1),
    "one-hot": lambda _, y: nn.functional.one_hot(y.argmax(1), 12).float(),
    "sparse hidden numbers": lambda h, _: torch.relu(h - 0.3),
    "a mask": lambda h, _: h * (h > 0.1),
    "an embedding of length one": lambda _, y: nn.functional.normalize(y, dim=1),
    "masked with minus infinity": lambda _, y: y.masked_fill(torch.arange(12) > 8, float("-inf")),
    "padded with zeros": lambda _, y: nn.functional.pad(y, (0, 4)),
    "logarithms": lambda _, y: y.log_softmax(1),
    "powers of ten": lambda _, y: y * 10.0 ** torch.arange(-6, 6),
}


def exported(end):
    torch.manual_seed(0)
    model = Ends(end).eval()
    return export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs(["x=1x8"]))


@pytest.mark.parametrize("end", HONEST.values(), ids=HONEST)
def test_honest_outputs_are_proved(end) -> None:
    """Against torch, and with golden answers; none is refused for a part that is small, still or not finite."""
    golden = golden_answers(exported(end), None, {1}, lambda _: None)
    assert len(golden.batches) == 2


def test_a_part_that_no_input_moves_is_told() -> None:
    """The gate never opens, so columns 4 to 7 are not proved, and the build says so."""
    told: list[str] = []
    graph = exported(lambda _, y: torch.cat([y[:, :4], y[:, 4:8] * (y.amax(1) > 1e6)[:, None]], 1))
    golden_answers(graph, None, {1}, told.append)
    assert any("4 of 8 places along axis 1 (4 to 7)" in line and "--golden" in line for line in told)
    assert "4 to 7" in graph.provenance["proof"]["notes"][0]


def test_what_float32_does_not_compute_is_refused() -> None:
    """Adding and taking away 1e8 leaves noise: nothing about it could be proved, whatever the inputs."""
    with pytest.raises(InputError, match=r"float32 does not compute output.*--data"):
        exported(lambda h, y: (y + 1e8) - 1e8 + h[:, :12])


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda _, y: y.bfloat16(), r"bfloat16.*x\.float\(\)"),
        (lambda _, y: torch.fft.fft(y), r"complex64.*view_as_real"),
        (lambda _, y: (y, (y * 10).to(torch.int16)), r"output_1.*int16.*torch\.int32"),
    ],
)
def test_types_that_no_bundle_holds_are_refused_before_the_trace(end, words: str) -> None:
    """By the output's name, with what to return instead."""
    with pytest.raises(ExportError, match=words):
        exported(end)


def test_places_of_equal_values_are_refused_with_the_way_out() -> None:
    """Zeros of a ReLU come in any order: each runtime chooses its own, and the words say that this is why."""
    with pytest.raises(ContractError, match=r"Whole numbers must be equal.*break ties in the model"):
        exported(lambda _, y: tuple(torch.relu(y - 0.2).topk(9, 1)))


class Packed(nn.Module):
    """Sequences of their own lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.out = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        padded, _ = nn.utils.rnn.pad_packed_sequence(
            self.recurrent(packed)[0], batch_first=True, total_length=5
        )
        return self.out(padded)


def test_packed_sequences_are_refused_with_what_to_write_instead() -> None:
    """torch.export itself cannot trace them."""
    real = {"x": np.ones((3, 5, 8), np.float32), "lengths": np.array([5, 2, 3])}
    inputs = parse_inputs(["x=1x5x8", "lengths=1:int64"])
    with pytest.raises(ExportError, match=r"Packed sequences cannot be traced.*torch\.where"):
        export_canonical(sparsify(Packed().eval(), [0.5, 0.0]), Packed().eval(), inputs, examples=real)
