"""Batches of other sizes show whether samples meet: their samples are answered differently."""

from __future__ import annotations

import numpy as np
import pytest

from elsa_edge.proof.batches import WAYS, mixed, resized, samples_differ
from elsa_edge.proof.tolerance import Tolerance
from elsa_edge.tensors import TensorSpec

SPECS = {
    "image": TensorSpec("image", (None, 3, 4)),
    "state": TensorSpec("state", (2, None, 6)),
    "tokens": TensorSpec("tokens", (None, 7), "int64"),
}


def test_resizing_repeats_samples_but_never_equal_ones() -> None:
    """Cut where there are more, started over where there are fewer; along the axis of the batch."""
    real = {
        "image": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "state": np.ones((2, 2, 6), np.float32),
    }
    specs = {name: SPECS[name] for name in real}
    np.testing.assert_array_equal(resized(specs, real, 1)["image"], real["image"][:1])
    five = resized(specs, real, 5)
    assert five["image"].shape == (5, 3, 4)
    assert five["state"].shape == (2, 5, 6)
    np.testing.assert_array_equal(five["image"][2:4], np.roll(real["image"], 1, -1))
    np.testing.assert_array_equal(five["image"][4], np.roll(real["image"][0], 2, -1))
    empty = {"image": np.zeros((0, 3, 4), np.float32)}
    assert resized({"image": SPECS["image"]}, empty, 2)["image"].shape == (0, 3, 4)


def test_mixed_batches_have_samples_of_both_inputs() -> None:
    """By turns, along the axis of the batch, starting over where there are too few; a lone state is the first one's."""
    specs = SPECS | {"gain": TensorSpec("gain", (1,))}
    one = {
        "image": np.arange(24.0).reshape(2, 3, 4),
        "state": np.zeros((2, 2, 6)),
        "tokens": np.zeros((2, 7), np.int64),
        "gain": np.ones(1),
    }
    two = {name: array + 100 for name, array in one.items()}
    made = mixed(specs, one, two, 5)
    np.testing.assert_array_equal(
        made["image"],
        np.stack([one["image"][0], two["image"][0], one["image"][1], two["image"][1], one["image"][0]]),
    )
    np.testing.assert_array_equal(made["state"][0, :, 0], [0, 100, 0, 100, 0])
    assert made["tokens"].dtype == np.int64
    np.testing.assert_array_equal(made["gain"], one["gain"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "axis"), [("image", 0), ("tokens", 0), ("state", 1)])
def test_every_way_changes_a_sample_that_comes_again(way: str, name: str, axis: int) -> None:
    """Shape and type stay, the first sample too; numbers are those that there were, or three quarters of them."""
    generator = np.random.default_rng(0)
    shape = {"image": (1, 3, 4), "tokens": (1, 7), "state": (2, 1, 6)}[name]
    real = {name: (generator.standard_normal(shape) * 9).astype(SPECS[name].dtype)}

    made = resized({name: SPECS[name]}, real, 3, way)[name]

    first, *others = np.moveaxis(made, axis, 0)
    assert made.shape == (*shape[:axis], 3, *shape[axis + 1 :])
    assert made.dtype == SPECS[name].dtype
    np.testing.assert_array_equal(first, np.moveaxis(real[name], axis, 0)[0])
    assert not np.array_equal(first, others[0])
    if way != "scaled" or name == "tokens":
        assert set(np.unique(made)) <= set(np.unique(real[name]))


def test_samples_differ_only_beyond_what_a_comparison_forgives() -> None:
    """Rows along the axis of the samples; NaN is no difference; one level that tells is enough."""

    def differ(*levels: list[list[float]], axis: int = 0) -> bool:
        answers = [{"y": np.array(level)} for level in levels]
        return samples_differ({"y": axis}, answers, lambda _o, _l: Tolerance())

    assert differ([[1.0, 2.0], [1.0, 3.0]])
    assert not differ([[1.0, 2.0], [1.0, 2.0]])
    assert not differ([[1.0, 2.0], [1.0, 2.001]])
    assert not differ([[np.nan, 2.0], [np.nan, 2.0]])
    assert not differ([[1.0, 1.0], [5.0, 5.0]], axis=1)
    assert differ([[1.0], [1.0]], [[1.0], [2.0]])
