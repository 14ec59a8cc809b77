"""The trained checkpoints kept as test data are what they say: real accuracy, exact levels, small."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.levels import mask_at

DATA = Path(__file__).parents[1] / "data"
REPOSITORY = str(Path(__file__).parents[2])
if REPOSITORY not in sys.path:
    sys.path.insert(0, REPOSITORY)


@pytest.mark.parametrize("name", ["fashion", "fashion_block"])
def test_levels_have_the_accuracy_that_their_ladder_says(name):
    """On 500 test images every level is as good as recorded on 10000, within the spread of so few."""
    from examples.cnn import tiny

    path = DATA / f"{name}.safetensors"
    assert path.stat().st_size <= 1_000_000
    checkpoint = NestedCheckpoint.load(path)
    test = np.load(DATA / "fashion_test.npz")
    images = torch.from_numpy((test["images"][:, None] / 255.0 - 0.2860) / 0.3530).float()
    model = tiny().eval()
    found = []
    for level in range(4):
        model.load_state_dict(
            {n: torch.from_numpy(np.array(a)) for n, a in checkpoint.at_level(level).items()}
        )
        with torch.no_grad():
            found.append(float((model(images).argmax(1).numpy() == test["labels"]).mean()))
    assert found == pytest.approx([level.accuracy for level in checkpoint.ladder], abs=0.04)
    assert found[3] > found[0] > 0.75
    assert np.all(np.diff([level.flops_fraction for level in checkpoint.ladder]) > 0)


def test_blocks_are_whole_at_every_level():
    """Four consecutive output channels are active together."""
    checkpoint = NestedCheckpoint.load(DATA / "fashion_block.safetensors")
    for level in range(4):
        mask = mask_at(checkpoint.indices["features.1.0.weight"], level)
        assert set(mask.reshape(-1, 4, *mask.shape[1:]).mean(1).reshape(-1)) <= {0.0, 1.0}
