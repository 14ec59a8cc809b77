"""Inputs are tried until the network says something."""

from __future__ import annotations

import numpy as np
import pytest

from elsa_edge.errors import ContractError, InputError
from elsa_edge.proof.choosing import most_telling
from elsa_edge.proof.making import made_up
from elsa_edge.proof.tolerance import Tolerance
from elsa_edge.tensors import TensorSpec

SPECS = {"x": TensorSpec("x", (None, 8))}


def choose(run, depending=("y",)):
    return most_telling(
        made_up(SPECS, 2), run, depending, lambda _o, _l: Tolerance(), advice="give real inputs"
    )


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda x: x.sum(1), "normal"),
        (lambda x: np.log(x).sum(1), "positive"),
        (lambda x: (np.abs(x) > 30).sum(1) * 1.0, "wide"),
        (lambda x: np.where((x >= 0) & (x < 1), x, np.nan).sum(1), "image-like"),
        (lambda x: (x > 200).sum(1) * 1.0, "bytes"),
    ],
)
def test_the_first_kind_that_tells_is_taken(function, kind: str) -> None:
    """Logarithms, thresholds and the unit interval each find theirs."""
    with np.errstate(invalid="ignore", divide="ignore"):
        trial = choose(lambda feed: [{"y": function(feed["x"])}])
    assert trial.kind == kind
    assert not trial.silent


def test_finite_everywhere_is_better_than_enough() -> None:
    """Half of the normal numbers have a square root; all positive ones have."""
    with np.errstate(invalid="ignore"):
        assert choose(lambda feed: [{"y": np.sqrt(feed["x"])}]).kind == "positive"
    masked = choose(lambda feed: [{"y": np.concatenate([feed["x"], np.full((2, 2), -np.inf)], 1)}])
    assert masked.kind == "normal"
    assert masked.finite == 0.8


def test_the_best_is_kept_when_none_is_good() -> None:
    """Fewest silent floats first; what is silent is reported."""
    trial = choose(lambda feed: [{"y": np.zeros(2), "z": feed["x"]}], depending=("y", "z"))
    assert trial.kind == "normal"
    assert [silence.output for silence in trial.silent] == ["y"]


def test_inputs_that_are_not_taken_are_passed_over() -> None:
    """A network that refuses negative numbers gets positive ones; one that refuses all is an error with the reason."""

    def positive(feed):
        if feed["x"].min() < 0:
            raise IndexError("index out of range")
        return [{"y": feed["x"]}]

    assert choose(positive).kind == "positive"

    def never(_feed):
        raise IndexError("index out of range")

    with pytest.raises(InputError, match="index out of range"):
        choose(never)


def test_our_own_errors_end_the_search() -> None:
    """A graph that no runtime accepts is not the fault of the inputs."""

    def broken(_feed):
        raise ContractError("ONNX Runtime does not accept the graph")

    with pytest.raises(ContractError, match="does not accept"):
        choose(broken)
