"""What the tests of this room share: compiled kernels, and one small network with levels."""

from __future__ import annotations

import pytest
import torch
from support.eight_bits import Small

from elsa_edge.graph.export import export_canonical
from elsa_edge.runtime_adapters.kernels.build import CompileError, ensure_library
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec


@pytest.fixture(scope="session", autouse=True)
def library():
    """A machine without a compiler cannot test them, and says so."""
    try:
        return ensure_library()
    except CompileError as error:
        pytest.skip(f"the kernels cannot be compiled here: {error}")


@pytest.fixture(scope="session")
def small():
    model = Small().eval()
    data = torch.randn(32, 3, 40, 40)
    levels = sparsify(model, [0.8, 0.5, 0.0], granularity="1x4", allocation="uniform", data=data)
    return export_canonical(levels, model, [TensorSpec("x", (1, 3, 40, 40))])
