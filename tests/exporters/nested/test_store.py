"""How many columns are swept together, by what the processor's caches and vectors hold."""

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


def test_narrow_vectors_sweep_over_more_columns_where_pixels_have_no_neighbours():
    wide, narrow = (column_block(layer_of(1), narrow=narrow) for narrow in (False, True))

    assert narrow == pytest.approx(4 * wide, rel=0.02)


def test_a_block_of_a_larger_kernel_is_of_whole_channels_and_the_same_for_all():
    assert column_block(layer_of(3)) % 9 == 0
    assert column_block(layer_of(3), narrow=True) == column_block(layer_of(3))


@pytest.mark.parametrize("narrow", [False, True])
def test_segments_hold_the_same_weights_however_wide_their_blocks(narrow):
    layer = layer_of(1)

    segment = decode(code_layer(layer, 1, narrow=narrow).segments[0])

    np.testing.assert_array_equal(segment.values, layer.weight)
