"""Gates and larger images of codes equal numpy bit for bit, borders included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.nodes8 import Array, from_planes, run8, to_planes

from elsa_edge.quantise.steps import Steps, codes_of, values_of

LEVELS = 2
SLOW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(steps: Steps) -> Array:
    """The steps at level 1; level 0 has others."""
    return np.array([[1.0, 3], [steps.step, steps.zero]], np.float32)


def draw_steps(data: st.DataObject) -> Steps:
    return Steps(float(np.float32(data.draw(st.floats(1e-3, 10)))), data.draw(st.integers(0, 255)))


@SLOW
@given(data=st.data())
def test_gates_agree(data: st.DataObject) -> None:
    """Any image, gap, steps; gates that are 0, negative, or far beyond all codes."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    height, width, gap = draw(st.integers(1, 9)), draw(st.integers(1, 20)), draw(st.integers(0, 3))
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 9))
    source, made = draw_steps(data), draw_steps(data)
    codes = random.integers(0, 256, (batch, channels, height, width)).astype(np.uint8)
    gates = random.choice(np.array([0, 0.3, 1, -2, 1e6], np.float32), (batch, channels, 1, 1))
    inputs = {"x": to_planes(codes, gap, source.zero), "level": np.array(1, np.int64)}
    constants = {"steps": table(source), "gates": gates, "made": table(made)}
    attributes = {"h": height, "w": width, "gap": gap, "channels": channels}
    y = run8("Int8Gate", inputs, constants, attributes)

    expected = codes_of(values_of(codes, source) * gates, made)
    count = -(-channels // 4) * 4
    assert np.array_equal(from_planes(y, channels, height, width, gap), expected)
    padded = np.full((batch, count, height, width), made.zero, np.uint8)
    padded[:, :channels] = expected
    assert np.array_equal(y, to_planes(padded, gap, made.zero))


@SLOW
@given(data=st.data())
def test_larger_images_agree(data: st.DataObject) -> None:
    """Any image, both gaps, different factors."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    height, width, channels = draw(st.integers(1, 7)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    down, right = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    gap, wide = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    steps = draw_steps(data)
    codes = random.integers(0, 256, (2, channels, height, width)).astype(np.uint8)
    inputs = {"x": to_planes(codes, gap, steps.zero), "level": np.array(1, np.int64)}
    attributes = {
        "in_h": height, "in_w": width, "in_gap": gap, "out_h": height * down, "out_w": width * right,
        "out_gap": wide, "scale_h": down, "scale_w": right, "in_quads": -(-channels // 4),
    }  # fmt: skip
    y = run8("Int8Upsample", inputs, {"steps": table(steps)}, attributes)

    expected = codes.repeat(down, axis=2).repeat(right, axis=3)
    assert np.array_equal(y, to_planes(expected, wide, steps.zero))


def test_gates_that_do_not_fit_are_an_error() -> None:
    """Their number is a shape of run time."""
    codes = np.zeros((1, 4, 2, 2), np.uint8)
    inputs = {"x": to_planes(codes, 0, 0), "level": np.array(1, np.int64)}
    steps = table(Steps(1.0, 0))
    constants = {"steps": steps, "gates": np.zeros((1, 3, 1, 1), np.float32), "made": steps}
    with pytest.raises(Exception, match="a gate for each channel"):
        run8("Int8Gate", inputs, constants, {"h": 2, "w": 2, "gap": 0, "channels": 4})
