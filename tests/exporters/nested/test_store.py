"""How many columns are swept together, by what the processor's caches hold."""

from __future__ import annotations

import numpy as np
import pytest

from elsa_edge.exporters.nested.layer import Geometry, Layer
from elsa_edge.exporters.nested.store import code_layer, column_block
from elsa_edge.nested_format.activations import Activation
from elsa_edge.nested_format.segments import decode


def layer_of(kernel: int) -> Layer:
    channels, rows, size = 256, 8, (14, 14)
    pad = kernel // 2
    weight = np.ones((rows, channels * kernel * kernel), np.float32)
    geometry = Geometry(size, size, channels, (kernel, kernel), (1, 1), (1, 1), (pad,) * 4, 1)
    table = np.ones((1, 2, rows), np.float32)
    index = np.zeros(weight.shape, np.uint8)
    return Layer("layer", 0, 0, (), "conv", weight, index, table, Activation(), None, geometry)


def test_pixels_without_neighbours_may_come_from_the_second_cache_of_x86():
    near, far = (column_block(layer_of(1), arch) for arch in ("aarch64", "x86-64"))

    assert near < far
    assert far == pytest.approx(4 * near, rel=0.02)


@pytest.mark.parametrize("arch", ["aarch64", "x86-64"])
def test_a_block_of_a_larger_kernel_is_of_whole_channels_and_the_same_everywhere(arch):
    assert column_block(layer_of(3), arch) % 9 == 0
    assert column_block(layer_of(3), arch) == column_block(layer_of(3), "x86-64")


@pytest.mark.parametrize("arch", ["aarch64", "x86-64"])
def test_segments_hold_the_same_weights_for_every_processor(arch):
    layer = layer_of(1)

    segment = decode(code_layer(layer, 1, arch).segments[0])

    np.testing.assert_array_equal(segment.values, layer.weight)
    assert segment.column_block <= column_block(layer, arch) * 4
