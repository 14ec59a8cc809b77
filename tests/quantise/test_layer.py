"""A layer in codes computes what the float layer computes, within the steps of its codes, at every level."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_edge.quantise import reference
from elsa_edge.quantise.layer import finish_tables, float_tables
from elsa_edge.quantise.steps import codes_of, steps_for, values_of
from elsa_edge.quantise.weights import code_rows, partners, quads

LEVELS = 3


def layer(seed, rows=7, columns=40):
    random = np.random.default_rng(seed)
    weight = random.standard_normal((rows, columns)).astype(np.float32)
    index = random.choice(np.array([0, 1, 2, 255], np.uint8), weight.shape)
    table = random.uniform(0.5, 2, (LEVELS, 2, rows)).astype(np.float32)
    return random, weight, index, table


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1 << 30),
    st.booleans(),
    st.sampled_from([None, "hard-swish", "silu"]),
)
def test_codes_stay_near_the_float_layer(seed, with_residual, kind):
    """Scale, bias, residual, activation and zero points of every level: off by about two steps at most."""
    random, weight, index, table = layer(seed)
    coded = code_rows(weight, index, LEVELS)
    x = random.standard_normal((50, weight.shape[1])).astype(np.float32) + 0.3
    other = random.standard_normal((50, len(weight))).astype(np.float32)
    for level in range(LEVELS):
        active = np.where(index <= level, weight, 0)
        y = x @ active.T * table[level, 0] + table[level, 1] + (other if with_residual else 0)
        if kind is None:
            y = np.clip(y, 0, 6)
        else:
            y = y * (np.clip(y / 6 + 0.5, 0, 1) if kind == "hard-swish" else 1 / (1 + np.exp(-y)))
        x_steps, y_steps = (steps_for(float(v.min()), float(v.max())) for v in (x, y))
        activated = kind is not None
        r_steps = steps_for(float(other.min()), float(other.max()))
        tables = finish_tables(
            table,
            coded,
            [x_steps] * LEVELS,
            [y_steps] * LEVELS,
            bounds=(-np.inf, np.inf) if activated else (0, 6),
            residual=[r_steps] * LEVELS if with_residual else None,
            activated=activated,
        )
        assert tables.fits
        sums = codes_of(x, x_steps).astype(np.int64) @ np.where(index <= level, coded.codes, 0).T.astype(
            np.int64
        )
        found = reference.finish(
            sums,
            tables.finish[level],
            tables.points[level],
            codes_of(other, r_steps) if with_residual else None,
            activation=kind,
        )
        noise = np.sqrt(weight.shape[1]) * (x_steps.step * 2 + np.abs(x).max() * coded.steps.max()) * 2
        assert np.abs(values_of(found, y_steps) - y).max() <= noise + 3 * y_steps.step


def test_float_outputs_are_those_of_the_codes():
    """Without rounding at the end only the codes of inputs and weights cost anything."""
    random, weight, index, table = layer(1)
    coded = code_rows(weight, index, LEVELS)
    x = random.standard_normal((20, weight.shape[1])).astype(np.float32)
    steps = steps_for(float(x.min()), float(x.max()))
    tables = float_tables(table, coded, [steps] * LEVELS)
    codes = codes_of(x, steps)
    for level in range(LEVELS):
        active = np.where(index <= level, coded.codes, 0)
        found = reference.to_floats(codes.astype(np.int64) @ active.T.astype(np.int64), tables.finish[level])
        wanted = (
            values_of(codes, steps) @ (active * coded.steps[:, None]).T * table[level, 0] + table[level, 1]
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_what_coding_adds_to_the_mean_is_taken_off():
    """With inputs of a large mean the bias correction brings the mean output back to the float one."""
    random, weight, index, table = layer(2, columns=400)
    coded = code_rows(weight, index, LEVELS)
    x = (random.standard_normal((200, 400)) * 0.1 + 3).astype(np.float32)
    steps = [steps_for(float(x.min()), float(x.max()))] * LEVELS
    bias = coded.bias_of_coding(
        weight, np.repeat(values_of(codes_of(x, steps[0]), steps[0]).mean(0)[None], LEVELS, 0)
    )
    codes = codes_of(x, steps[0]).astype(np.int64)
    errors = []
    for correction in (None, bias):
        tables = float_tables(table, coded, steps, bias_of_coding=correction)
        found = reference.to_floats(
            codes @ np.where(index <= 2, coded.codes, 0).T.astype(np.int64), tables.finish[2]
        )
        wanted = (
            values_of(codes_of(x, steps[0]), steps[0]) @ np.where(index <= 2, weight, 0).T * table[2, 0]
            + table[2, 1]
        )
        errors.append(np.abs((found - wanted).mean(axis=0)).max())
    assert errors[1] < 0.02 * errors[0]


def test_codes_of_a_row_do_not_depend_on_the_level():
    """A row is coded once over all weights that any level uses; weights of no level cost nothing."""
    _, weight, index, _ = layer(3)
    weight[index == 255] = 1e6
    coded = code_rows(weight, index, LEVELS)
    assert np.abs(coded.codes).max() <= 127
    assert (coded.codes[index == 255] == 0).all()
    error = np.abs(coded.codes * coded.steps[:, None] - weight)[index < 255]
    assert error.max() < 0.25
    dead = code_rows(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.uint8), 1)
    assert np.isfinite(dead.steps).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 7), st.integers(1, 9))
def test_quads_of_a_grouped_convolution_are_those_of_the_whole_input(groups, per_group, share, taps):
    """Row r at absolute channel c, tap t is values[r, c - first channel of its group, t]; elsewhere the fill."""
    rows = groups * per_group
    values = np.arange(1, rows * share * taps + 1).reshape(rows, share * taps)
    laid = quads(values, groups, taps, fill=-1).reshape(rows, -1, taps, 4)
    for row in range(rows):
        for channel in range(laid.shape[1] * 4):
            first = row // per_group * share
            inside = first <= channel < first + share
            wanted = values[row].reshape(share, taps)[channel - first] if inside else -1
            assert (laid[row, channel // 4, :, channel % 4] == wanted).all()


def test_the_scale_of_a_row_that_is_dead_at_a_level_is_idle():
    """BatchNorm without variance scales a dead channel by hundreds: kernels take it, and its output is the bias."""
    _, weight, index, table = layer(4)
    index[2] = 1  # no weight at level 0
    table[0, 0, 2] = 1e9
    coded = code_rows(weight, index, LEVELS)
    tables = finish_tables(table, coded, [steps_for(0, 1)] * LEVELS, [steps_for(0, 4)] * LEVELS)
    assert tables.fits
    assert tables.finish[0, 0, 2] == 0


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 4, 9]),
    st.sampled_from(["uniform", "normal", "one"]),
    st.integers(0, 1 << 30),
)
def test_pairs_of_codes_are_small_enough_for_every_processor(share, groups, taps, kind, seed):
    """Laid out as kernels read them, no pair exceeds 128: no block is stored twice; steps are at most twice as wide."""
    random = np.random.default_rng(seed)
    shape = (2 * groups, share * taps)
    weight = random.uniform(-1, 1, shape) if kind == "uniform" else random.standard_normal(shape)
    if kind == "one":
        weight[:, 0] *= 1e4
    index = random.choice(np.array([0, 1, 255], np.uint8), shape)
    coded = code_rows(weight, index, 2, pairs=partners(share, groups, taps))
    laid = np.abs(quads(coded.codes, groups, taps).astype(np.int16)).reshape(-1, 2).sum(axis=1)
    assert laid.max(initial=0) <= 128
    kept = np.where(index < 2, weight, 0)
    wide = 2 * np.abs(kept).max(axis=1, initial=0) / 127
    assert (coded.steps <= np.where(wide > 0, wide * (1 + 1e-9), 1)).all()
    error = np.square(coded.codes * coded.steps[:, None] - kept).sum(axis=1)
    assert (error <= kept.shape[1] * np.square(wide / 2) * (1 + 1e-9)).all()
