"""Files that compute something else are refused, however little the network's outputs say, and at every batch size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from elsa_edge.build import build_bundle
from elsa_edge.errors import ContractError
from elsa_edge.graph.export import export_canonical
from elsa_edge.profiles import load_profile
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs


class Pooled(nn.Module):
    """The converter averages a padded pool with ceil_mode wrongly; `before` and `after` hide that from weak proofs."""

    def __init__(self, before, after) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(8 * 6 * 7, 4),
        )

    def forward(self, x):
        return self.after(self.body(self.before(x)))


class Meeting(nn.Module):
    """Samples of a batch meet in `end`."""

    def __init__(self, end) -> None:
        super().__init__()
        self.a, self.b, self.end = nn.Linear(6, 16), nn.Linear(16, 4), end

    def forward(self, x):
        return self.end(self, torch.relu(self.a(x)))


def _same(x):
    return x


HIDING = {
    "nothing": (_same, _same),
    "NaN for every negative number": (torch.log, _same),
    "outputs near 1e-5": (_same, lambda y: y * 1e-5),
    "thresholds": (lambda x: x * 200, lambda y: (y.abs() > 60).float()),
}
MEETING = {
    "centred": lambda s, h: s.b(h - h.mean(0, keepdim=True)),
    "similarity": lambda _s, h: h @ h.t(),
}


def build(model: nn.Module, shape: str, folder, batch: int = 1):
    export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs([shape])).save(folder / "m.onnx")
    profile = load_profile("android-arm64")
    profile = profile.model_copy(update={"tflite": profile.tflite.model_copy(update={"batch": batch})})
    build_bundle(folder / "m.onnx", profile, folder / "b", variants=["tflite-levels"])


@pytest.mark.parametrize(("before", "after"), HIDING.values(), ids=HIDING)
def test_a_wrong_layer_is_found_behind_what_hides_it(before, after, tmp_path):
    """The golden inputs are ones on which it shows."""
    torch.manual_seed(0)
    with pytest.raises(ContractError, match=r"computes another|differs from the canonical graph"):
        build(Pooled(before, after).eval(), "1x1x10x12", tmp_path)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("end", MEETING.values(), ids=MEETING)
def test_samples_that_meet_are_refused_at_every_batch_of_the_file(end, batch, tmp_path):
    """The file's own batch proves nothing: there are golden batches of other sizes, and the words say what to do."""
    torch.manual_seed(0)
    with pytest.raises(ContractError, match=r"differs from the canonical graph at level 0.*--batch N"):
        build(Meeting(end).eval(), "1x6", tmp_path, batch)
