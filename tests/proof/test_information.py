"""A comparison that could not fail is no proof; each way in which outputs can be silent is told apart."""

from __future__ import annotations

import numpy as np
import pytest

from elsa_edge.errors import ContractError, InputError
from elsa_edge.proof.information import require_telling, silences, spread, told_apart
from elsa_edge.proof.tolerance import Tolerance

ADVICE = "give real inputs with --golden FILE.npz"


def plain(_output: str, _level: int) -> Tolerance:
    return Tolerance()


def silent(one, two, depending=("y",)):
    """Compare answers of one level; `one` and `two` map output -> values."""
    a, b = ({name: np.asarray(values) for name, values in given.items()} for given in (one, two))
    return silences([a], [[b]], depending, plain)


@pytest.mark.parametrize(
    ("one", "two", "says_nothing"),
    [
        ([1.0, 2.0], [2.0, 1.0], False),
        ([1.0, 2.0], [1.0, 2.0], True),
        ([np.nan, np.nan], [np.nan, np.nan], True),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([1000.0, 1.0], [1000.0, 1.9], True),
        ([1000.0, 1.0], [1000.0, 1.95], True),
        ([1000.0, 1.0], [1000.0, 2.1], False),
        ([1e-7, 2e-7], [2e-7, 1e-7], False),
        ([np.inf, 1.0, 2.0, 3.0], [np.inf, 2.0, 1.0, 3.0], False),
        ([np.nan, np.nan, np.nan, np.nan, 1.0], [np.nan, np.nan, np.nan, np.nan, 2.0], True),
        ([-3e38, 1.0], [-3e38, 2.0], False),
    ],
)
def test_what_says_nothing(one, two, says_nothing: bool) -> None:
    """NaN, constants, zeros, and changes below ten times what the comparison forgives."""
    assert bool(silent({"y": one}, {"y": two})) is says_nothing


@pytest.mark.parametrize(
    ("dtype", "whole"), [("f4", False), ("f2", False), ("i8", True), ("u1", True), ("?", True)]
)
def test_whole_numbers_are_told_from_others(dtype: str, whole: bool) -> None:
    """A class or a flag may stand still where scores may not."""
    (silence,) = silent({"y": np.ones(2, dtype)}, {"y": np.ones(2, dtype)})
    assert silence.whole is whole


def test_outputs_that_no_input_reaches_may_be_constant() -> None:
    """Anchors are not asked to move."""
    assert not silent({"anchors": [1.0]}, {"anchors": [1.0]})


def test_the_largest_change_over_all_inputs_counts() -> None:
    """One of several other inputs suffices; another shape is a change without bound."""
    base = np.array([1.0, 2.0])
    assert spread(base, [base, base + np.array([0, 0.5]), base + 0.25]) == 0.5
    assert spread(base, []) == 0.0
    assert spread(base, [np.ones(3)]) == spread(base, [np.ones(1)]) == np.inf
    assert spread(np.uint8([250]), [np.uint8([1])]) == 249.0


def found(*rows):
    """Silences of outputs; a row is (level, output, finite share, whole)."""
    from elsa_edge.proof.information import Silence

    return [Silence(level, output, finite, 0.0, 1.0, whole) for level, output, finite, whole in rows]


@pytest.mark.parametrize("given", [True, False])
def test_a_dead_level_is_refused_by_its_name(given: bool) -> None:
    """Its output stands still while the densest level's moves."""
    with pytest.raises(ContractError, match="Level s80 does not follow its inputs"):
        require_telling(found((0, "y", 1.0, False)), ("y",), ["s80", "dense"], given=given, advice=ADVICE)


def test_a_dead_output_beside_a_living_one_is_refused_too() -> None:
    """A level is dead where one of its float outputs is."""
    with pytest.raises(ContractError, match="s80"):
        require_telling(found((0, "y", 1.0, False)), ("y", "z"), ["s80", "dense"], given=True, advice=ADVICE)


@pytest.mark.parametrize("finite", [0.0, 1.0])
def test_a_silent_network_is_refused_with_advice(finite: float) -> None:
    """Whatever the reason: with real inputs it may speak."""
    rows = found(*((level, "y", finite, False) for level in range(2)))
    with pytest.raises(InputError, match="Give real inputs with --golden"):
        require_telling(rows, ("y",), ["s80", "dense"], given=False, advice=ADVICE)
    with pytest.raises(InputError):
        require_telling(rows, ("y",), ["s80", "dense"], given=True, advice=ADVICE)


def test_an_output_that_never_moves_is_a_note_with_real_inputs_only() -> None:
    """A person who gave inputs has seen to it; made-up ones prove nothing."""
    rows = found(*((level, "count", 1.0, False) for level in range(2)))
    notes = require_telling(rows, ("y", "count"), ["a", "b"], given=True, advice=ADVICE)
    assert notes == ["count is not proved: it is the same for all golden inputs."]
    with pytest.raises(InputError):
        require_telling(rows, ("y", "count"), ["a", "b"], given=False, advice=ADVICE)


def test_a_class_may_stay_while_the_scores_move() -> None:
    """Whole numbers change seldom; alone they must."""
    rows = found((0, "class", 1.0, True), (1, "class", 1.0, True))
    assert require_telling(rows, ("y", "class"), ["a", "b"], given=False, advice=ADVICE)
    assert not require_telling(rows[:1], ("y", "class"), ["a", "b"], given=False, advice=ADVICE)
    with pytest.raises(InputError):
        require_telling(rows, ("class",), ["a", "b"], given=False, advice=ADVICE)


def test_nothing_silent_is_nothing_to_say() -> None:
    """No notes."""
    assert require_telling([], ("y",), ["a"], given=False, advice=ADVICE) == []


def test_answers_are_told_apart_by_samples_or_by_batches() -> None:
    """Two samples of a batch, or two batches of one shape; batches of other sizes, NaN and constants tell nothing."""
    same, other = np.ones((2, 3)), np.array([[1.0, 1, 1], [1, 2, 1]])
    nothing = np.full((2, 3), np.nan)

    assert told_apart([{"y": other}], {"y": 0})
    assert told_apart([{"y": same}, {"y": same[:1] * 2}], {"y": 0})
    assert told_apart([{"y": same}, {"y": same * 2}], {"y": None})
    assert told_apart([{"x": same, "y": other}], {"x": 0, "y": 0})
    assert not told_apart([{"y": other}], {"y": None})
    assert not told_apart([{"y": same}, {"y": same[:1]}], {"y": None})
    assert not told_apart([{"y": nothing}, {"y": same}], {"y": 0})
