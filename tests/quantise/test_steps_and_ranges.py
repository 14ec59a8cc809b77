"""Codes of activations: what they cover, how ranges are found, and which data cannot give any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_edge.errors import ContractError, ExportError, InputError, UnknownNameError
from elsa_edge.quantise.calibrate import METHODS, Observer
from elsa_edge.quantise.samples import checked_samples, inferences
from elsa_edge.quantise.steps import Steps, codes_of, steps_for, values_of
from elsa_edge.tensors import TensorSpec

BOUNDS = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=100, deadline=None)
@given(BOUNDS, BOUNDS)
def test_codes_are_at_most_half_a_step_off(one, other):
    """Every value of the range comes back within half a step, and 0 exactly."""
    low, high = min(one, other), max(one, other)
    steps = steps_for(low, high)
    values = np.linspace(low, high, 33, dtype=np.float32)
    back = values_of(codes_of(values, steps), steps)
    # The code of 0 is whole, so the ends may lie up to half a step outside.
    assert np.abs(back - values).max() <= steps.step * 1.001 + 1e-12
    assert values_of(codes_of(np.zeros(1, np.float32), steps), steps)[0] == 0
    assert 0 <= steps.zero <= 255


def test_an_activation_that_never_fires_has_codes_all_the_same():
    """Zeros everywhere give finite steps, and zeros again."""
    silent = Observer("relu")
    silent.see(np.zeros((4, 8), np.float32))
    assert all(silent.steps(method) == Steps(1.0, 0) for method in METHODS)
    assert values_of(codes_of(np.zeros(3, np.float32), Steps(1.0, 0)), Steps(1.0, 0)).tolist() == [0, 0, 0]


def test_rare_outliers_widen_extremes_but_not_the_other_ranges():
    """One value a hundred times as large as the rest: min-max covers it, percentiles cut it off, and so may mse."""
    values = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    values[0, 0] = 400.0
    watched = Observer("x", channel_axis=1)
    for row in values:
        watched.see(row[None])
    wide, cut, best = (watched.steps(method) for method in METHODS)
    assert wide.high >= 400 - wide.step
    assert cut.high < 10
    assert cut.step < best.step <= wide.step
    assert watched.means == pytest.approx(values.mean(axis=0, dtype=np.float64))
    with pytest.raises(UnknownNameError, match="calibration method"):
        watched.steps("median")


def test_data_without_a_range_are_refused():
    """Nothing seen, NaN, infinity, bounds in the wrong order."""
    with pytest.raises(InputError, match="no calibration data for conv"):
        Observer("conv").steps()
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="conv is not finite"):
            Observer("conv").see(np.array([1.0, bad], np.float32))
    with pytest.raises(ContractError, match="must be finite"):
        steps_for(1.0, -1.0)


def test_samples_must_be_enough_finite_and_different():
    """Three samples, NaN, equal samples and another shape each end in a sentence that says what to do."""
    specs = {"x": TensorSpec("x", (None, 4), "float32")}
    good = np.random.default_rng(0).standard_normal((600, 4)).astype(np.float32)

    def check(array):
        return checked_samples(specs, {"anything": array}, "calibration.npz", "Give more")

    assert check(good)["x"].shape == (256, 4)
    with pytest.raises(ExportError, match="3 in calibration"):
        check(good[:3])
    with pytest.raises(InputError, match="not finite"):
        check(np.where(good > 2, np.nan, good).astype(np.float32))
    with pytest.raises(ExportError, match="constant"):
        check(np.repeat(good[:1], 20, 0))
    with pytest.raises(InputError, match="do not fit the network"):
        check(good[:, :3])


def test_a_fixed_batch_takes_any_multiple_of_it():
    """Most files of others have a batch of 1: samples are still counted one by one."""
    random = np.random.default_rng(0)
    specs = {"x": TensorSpec("x", (3, 4)), "mask": TensorSpec("mask", (3, 2))}
    given = {"x": random.standard_normal((300, 4)).astype("f4"), "mask": np.ones((300, 2), "f4")}

    samples = checked_samples(specs, given, "calibration.npz", "Give more")

    assert len(samples["x"]) == len(samples["mask"]) == 255
    with pytest.raises(InputError, match="fill the network's batches"):
        checked_samples(specs, {name: array[:20] for name, array in given.items()}, "c.npz", "Give more")
    with pytest.raises(ExportError, match="too few"):
        checked_samples(specs, {name: array[:3] for name, array in given.items()}, "c.npz", "Give more")


@pytest.mark.parametrize(
    ("spec", "samples", "one", "count"),
    [
        (TensorSpec("x", (None, 4)), (6, 4), (1, 4), 6),
        (TensorSpec("x", (3, 4)), (6, 4), (3, 4), 2),
        (TensorSpec("x", (10, None, 4), sizes=(None, "batch", None)), (10, 6, 4), (10, 1, 4), 6),
    ],
)
def test_inferences_take_what_the_network_takes_at_once(spec, samples, one, count):
    """A sample, the fixed batch, or a sample that does not lie in front; an input without samples stays whole."""
    random = np.random.default_rng(0)
    arrays = {"x": random.standard_normal(samples).astype("f4")}

    found = [feed["x"] for feed in inferences({"x": spec}, arrays)]

    assert [array.shape for array in found] == [one] * count
    assert np.array_equal(np.concatenate(found, spec.batch_axis or 0), arrays["x"])


def test_samples_lie_where_the_network_has_its_batch():
    """A recurrent network may have time in front; a free length alone is no batch."""
    steps = np.random.default_rng(0).standard_normal((10, 32, 4)).astype("f4")
    behind = {"x": TensorSpec("x", (10, None, 4), sizes=(None, "batch", None))}
    length = {"x": TensorSpec("x", (1, None, 4), sizes=(None, "S", None))}

    assert checked_samples(behind, {"x": steps}, "c.npz", "Give more")["x"].shape == (10, 32, 4)
    with pytest.raises(ExportError, match=r"1 in c\.npz"):
        checked_samples(length, {"x": steps[:1]}, "c.npz", "Give more")
