"""Zero padding moves into the convolutions that read it, and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from support.texts import with_constants

from elsa_edge.graph.oracle import run_model
from elsa_edge.graph.passes.fold_pad import FoldPad


def make(
    pad: str, readers: str, amounts: list[int], *, value: float | None = None, axes: list[int] | None = None
) -> ir.Model:
    """`p = pad` of a (N, 3, 6, 5) image, read by `readers`, with its constants."""
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        g (float[N, 3, 6, 5] x) => (float[N, A, B, C] y) {{
            p = {pad}
            {readers}
        }}"""
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "amounts": np.array(amounts, np.int64),
        "value": np.float32(value or 0.0),
        "axes": np.array(axes or [0], np.int64),
    }
    return with_constants(text, constants)


def fold(model: ir.Model) -> tuple[bool, int]:
    """Fold, check that the numbers are the same, and return (modified, Pad nodes left)."""
    x = {"x": np.random.default_rng(1).normal(size=(2, 3, 6, 5)).astype(np.float32)}
    before = run_model(model, x)
    modified = FoldPad()(model).modified
    after = run_model(model, x)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    return modified, sum(node.op_type == "Pad" for node in model.graph)


@pytest.mark.parametrize(
    ("pad", "amounts", "axes"),
    [
        ("Pad (x, amounts)", [0, 0, 1, 2, 0, 0, 3, 0], None),
        ('Pad <mode = "constant"> (x, amounts, value)', [0, 0, 1, 1, 0, 0, 1, 1], None),
        ("Pad (x, amounts, value, axes)", [2, 0, 1, 1], [-1, 2]),
    ],
)
def test_zeros_around_the_image_are_folded(pad, amounts, axes):
    """Any side, with and without a value, by axes; a convolution's own padding adds up."""
    assert fold(make(pad, "y = Conv <pads = [1, 0, 0, 1], strides = [2, 1]> (p, w)", amounts, axes=axes)) == (
        True,
        0,
    )
    assert fold(make(pad, "y = Conv (p, w)", amounts, axes=axes)) == (True, 0)


def test_every_reader_gets_the_padding():
    """Two convolutions read the same padded image."""
    readers = "a = Conv (p, w)  b = Conv (p, w)  y = Add (a, b)"
    assert fold(make("Pad (x, amounts)", readers, [0, 0, 1, 1, 0, 0, 1, 1])) == (True, 0)


BOTH = "a = Conv (p, w)  b = Relu (p)  c = ReduceMean (b)  y = Add (a, c)"


@pytest.mark.parametrize(
    ("pad", "readers", "amounts", "value"),
    [
        ("Pad (x, amounts, value)", "y = Conv (p, w)", [0, 0, 1, 1, 0, 0, 1, 1], 0.5),
        ('Pad <mode = "reflect"> (x, amounts)', "y = Conv (p, w)", [0, 0, 1, 1, 0, 0, 1, 1], None),
        ("Pad (x, amounts)", "y = Conv (p, w)", [0, 0, 0, -1, 0, 0, 1, 1], None),
        ("Pad (x, amounts)", BOTH, [0, 0, 1, 1, 0, 0, 1, 1], None),
        ("Pad (x, amounts)", 'y = Conv <auto_pad = "SAME_UPPER"> (p, w)', [0, 0, 1, 1, 0, 0, 1, 1], None),
        ("Pad (x, amounts)", "y = Relu (p)", [0, 0, 1, 1, 0, 0, 1, 1], None),
        ("Pad (x, amounts)", "y = Relu (p)", [1, 0, 0, 0, 0, 0, 0, 0], None),
    ],
)
def test_other_padding_stays(pad, readers, amounts, value):
    """Another value or mode, cropping, another reader, automatic padding, another axis."""
    assert fold(make(pad, readers, amounts, value=value)) == (False, 1)
