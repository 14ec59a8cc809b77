"""The network meets XNNPACK's rule, and dense kernels at a sparse level would be told."""

from __future__ import annotations

import torch

from benchmarks.arm.clusters import Mobile, claims_of


def test_the_network_reads_three_channels_and_halves_them_first():
    model = Mobile().eval()

    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 28, 28)).shape == (2, 10)
    stem = model.stem[0]
    assert (stem.in_channels, stem.kernel_size, stem.stride, stem.padding) == (3, (3, 3), (2, 2), (1, 1))
    convolutions = [m for m in model.blocks.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(m.kernel_size == (1, 1) or m.groups == m.in_channels for m in convolutions)


def test_dense_kernels_at_a_sparse_level_break_the_claim():
    row = {
        "cpu": "cortex-a72",
        "sparsity": 0.9,
        "sparse_kernels": False,
        "difference": 0.0,
        "allowed": 1e-4,
        "accuracy_dense_kernels": 0.95,
        "accuracy": 0.94,
    }

    assert [claim.holds for claim in claims_of([row])] == [False, True, False]
