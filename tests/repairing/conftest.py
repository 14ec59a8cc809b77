"""What the repair tests share: a network that has learnt something, cut into levels."""

from __future__ import annotations

import pytest
import torch
from support import learned

from elsa_edge.repairing import RepairSettings
from elsa_edge.sparsify import sparsify


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def cut():
    """Levels with 75 % zeros, 50 % zeros, dense; as cut they know little."""
    return sparsify(learned.learned(), [0.75, 0.5, 0.0], allocation="uniform")


@pytest.fixture
def quick():
    """Return settings that make a difference in a second."""

    def make(**changes) -> RepairSettings:
        usual = {"steps": 40, "batch_size": 64, "check_every": 20, "augment": "none", "learning_rate": 0.03}
        return RepairSettings(**(usual | changes))

    return make
