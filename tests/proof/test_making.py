"""Inputs for proofs: of the right shapes, reproducible, and different where that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from elsa_edge.proof.making import KINDS, given, made, made_up, sizes_unlike
from elsa_edge.tensors import TensorSpec

SPECS = {
    "image": TensorSpec("image", (None, 3, 4)),
    "tokens": TensorSpec("tokens", (None, 7), "int64"),
    "flag": TensorSpec("flag", (), "bool"),
    "half": TensorSpec("half", (5, None), "float16"),
    "state": TensorSpec("state", (2, None, 6)),
}


def test_made_up_inputs_fit_and_are_reproducible() -> None:
    """The first free size is the batch, others are 1; floats are coarse on purpose."""
    inputs = made(SPECS, 2, ranges={"tokens": (0, 4)})
    again = made(SPECS, 2, ranges={"tokens": (0, 4)})
    assert {name: (array.shape, str(array.dtype)) for name, array in inputs.items()} == {
        "image": ((2, 3, 4), "float32"),
        "tokens": ((2, 7), "int64"),
        "flag": ((), "bool"),
        "half": ((5, 2), "float16"),
        "state": ((2, 2, 6), "float32"),
    }
    np.testing.assert_array_equal(inputs["image"] * 8, np.round(inputs["image"] * 8))
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, again[name])


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("normal", -6, 6),
        ("positive", 0.125, 3),
        ("image-like", 1 / 16, 15 / 16),
        ("wide", -96, 96),
        ("bytes", 0, 255),
    ],
)
def test_kinds_stay_in_their_range(kind: str, low: float, high: float) -> None:
    """Logarithms take positive ones, thresholds wide ones, 8-bit images bytes."""
    array = made({"x": TensorSpec("x", (None, 3, 32, 32))}, 3, kind=kind)["x"]
    assert low <= array.min() < array.max() <= high
    assert not np.array_equal(array[0], array[1])


def test_image_like_inputs_are_smooth() -> None:
    """Neighbours are equal in most places, samples differ in brightness."""
    array = made({"x": TensorSpec("x", (None, 3, 32, 32))}, 4, kind="image-like")["x"]
    assert np.mean(array[..., 1:] == array[..., :-1]) > 0.8
    assert len(set(array.mean((1, 2, 3)))) > 1


@hypothesis_given(st.integers(0, 40), st.integers(0, 400), st.sampled_from(sorted(KINDS)))
@settings(max_examples=60, deadline=None)
def test_whole_numbers_stay_inside_what_is_known(low: int, width: int, kind: str) -> None:
    """No kind leaves a vocabulary, and none is larger than a small file wants."""
    array = made({"t": TensorSpec("t", (None, 50), "int64")}, 2, kind=kind, ranges={"t": (low, low + width)})[
        "t"
    ]
    assert low <= array.min()
    assert array.max() <= min(low + width, low + 127)


def test_whole_numbers_without_a_vocabulary_are_small() -> None:
    """0 and 1 are safe indices; the second kind has no 0."""
    spec = {"t": TensorSpec("t", (None, 50), "int32")}
    assert set(np.unique(made(spec, 2)["t"])) == {0, 1}
    assert set(np.unique(made(spec, 2, kind="positive")["t"])) == {1, 2}


def test_candidates_come_with_another_input() -> None:
    """Every kind, twice, and never compared with itself."""
    candidates = list(made_up(SPECS, 2))
    assert [candidate.kind for candidate in candidates] == [*KINDS, *KINDS]
    for candidate in candidates:
        assert len(candidate.others) == 1
        assert not np.array_equal(candidate.inputs["image"], candidate.others[0]["image"])
    assert not np.array_equal(candidates[0].inputs["image"], candidates[5].inputs["image"])


def test_real_inputs_come_with_variations() -> None:
    """Samples in other places, halved, turned round; the originals untouched."""
    real = {"image": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "tokens": np.arange(14).reshape(2, 7)}
    candidate = given({name: SPECS[name] for name in real}, real)
    rolled, halved, flipped, drawn = candidate.others
    assert set(drawn["tokens"].reshape(-1)) <= set(range(14))
    assert not np.array_equal(np.sort(drawn["tokens"], None), np.arange(14))
    assert drawn["image"] is real["image"]
    np.testing.assert_array_equal(candidate.inputs["image"], real["image"])
    np.testing.assert_array_equal(rolled["image"], real["image"][::-1])
    np.testing.assert_array_equal(rolled["tokens"], real["tokens"][::-1])
    np.testing.assert_array_equal(halved["image"], real["image"] / 2)
    np.testing.assert_array_equal(halved["tokens"], real["tokens"])
    np.testing.assert_array_equal(flipped["tokens"], real["tokens"][:, ::-1])


def test_other_free_sizes_are_those_of_the_export() -> None:
    """By their names; 1 where nobody knows better."""
    spec = {"x": TensorSpec("x", (None, 3, None, None), sizes=("batch", None, "H", "W"))}
    assert made(spec, 2, sizes={"H": 16})["x"].shape == (2, 3, 16, 1)


def test_sizes_avoid_what_files_are_fixed_to() -> None:
    """Two sizes above one, neither of them frozen."""
    assert sizes_unlike(2, {1}) == [2, 3]
    assert sizes_unlike(2, {2, 4}) == [3, 5]
