"""Levels, ladders and level indices."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elsa_edge.errors import LevelError
from elsa_edge.levels import (
    NEVER,
    Ladder,
    Level,
    active_counts,
    check_index,
    index_from_masks,
    index_from_scores,
    mask_at,
    measured_densities,
)

scores_and_counts = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=4, max_side=5), elements=st.floats(-5, 5, width=32)
).flatmap(
    lambda scores: st.tuples(
        st.just(scores), st.lists(st.integers(0, scores.size), min_size=1, max_size=6).map(sorted)
    )
)
sparsity_lists = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8, unique=True).map(
    lambda values: sorted(values, reverse=True)
)


class TestIndex:
    @given(scores_and_counts)
    def test_masks_from_scores_are_nested_and_exact(self, case):
        """Each level has exactly its count of weights and contains the level before."""
        scores, counts = case
        index = index_from_scores(scores, counts)
        masks = [mask_at(index, level) for level in range(len(counts))]
        assert [int(mask.sum()) for mask in masks] == counts
        assert all(np.all(b[a]) for a, b in pairwise(masks))

    @given(scores_and_counts)
    def test_the_highest_scores_are_kept(self, case):
        """No weight that is out at a level scores higher than one that is in."""
        scores, counts = case
        index = index_from_scores(scores, counts)
        for level in range(len(counts)):
            mask = mask_at(index, level)
            if mask.any() and not mask.all():
                assert scores[mask].min() >= scores[~mask].max()

    @given(scores_and_counts)
    def test_masks_and_index_are_two_forms_of_one_thing(self, case):
        """An index rebuilt from its own masks is the same index."""
        index = index_from_scores(*case)
        rebuilt = index_from_masks([mask_at(index, level) for level in range(len(case[1]))])
        np.testing.assert_array_equal(rebuilt, index)

    @given(scores_and_counts)
    def test_active_counts_and_densities(self, case):
        """Counts agree with the masks; densities are counts over all weights together."""
        scores, counts = case
        index = index_from_scores(scores, counts)
        assert active_counts(index, len(counts)).tolist() == counts
        two = measured_densities({"a": index, "b": index}, len(counts))
        assert two == pytest.approx([count / scores.size for count in counts])

    def test_ties_go_to_the_lower_position(self):
        """Equal scores do not make the result depend on the sorting algorithm."""
        assert index_from_scores(np.ones((2, 2)), [1, 3]).tolist() == [[0, 1], [1, NEVER]]

    def test_a_weight_outside_the_last_level_is_at_none(self):
        """A ladder may end below dense."""
        index = index_from_scores(np.array([3.0, 1.0, 2.0]), [1, 2])
        assert index.tolist() == [0, NEVER, 1]
        assert mask_at(index, 254).tolist() == [True, False, True]

    def test_masks_that_are_not_nested_are_refused(self):
        """A weight that disappears at a denser level is an error that counts it."""
        with pytest.raises(LevelError, match="1 weights active at level 0 but not at level 1"):
            index_from_masks([np.array([True, False]), np.array([False, True])])

    @pytest.mark.parametrize("counts", [[2, 1], [1, 5], [-1]])
    def test_impossible_counts_are_refused(self, counts):
        """Counts rise and fit the weight."""
        with pytest.raises(LevelError, match="rising counts"):
            index_from_scores(np.ones(4), counts)

    @pytest.mark.parametrize(
        ("index", "problem"),
        [
            (np.zeros((2, 2), np.int64), "wrong type"),
            (np.zeros((4,), np.uint8), "wrong shape"),
            (np.full((2, 2), 7, np.uint8), "levels that are not in the ladder"),
        ],
    )
    def test_a_bad_index_is_refused(self, index, problem):
        """Type, shape and values are checked."""
        with pytest.raises(LevelError, match=problem):
            check_index("w", index, (2, 2), 3)

    def test_a_few_of_the_strange_levels_are_named(self):
        """Five, and not the whole weight."""
        with pytest.raises(LevelError, match=r"found 3, 4, 5, 6, 7\.?$"):
            check_index("w", np.arange(1, 9, dtype=np.uint8), (8,), 3)

    def test_no_weights_are_all_active(self):
        """A network without nested weights is dense at every level."""
        assert measured_densities({}, 2) == (1.0, 1.0)


class TestLadder:
    @given(sparsity_lists)
    def test_json_brings_back_the_same_ladder(self, sparsities):
        """Serialisation loses nothing."""
        names = tuple(f"level_{k}" for k in range(len(sparsities)))
        ladder = Ladder(tuple(Level(n, s) for n, s in zip(names, sparsities, strict=True)))
        measured = ladder.measured(densities=[1 - s for s in sparsities], accuracies=[0.5] * len(ladder))
        assert Ladder.from_json(measured.to_json()) == measured

    def test_names_say_the_sparsity(self):
        """Default names are readable."""
        assert [level.name for level in Ladder.parse("0.955,0.9,0")] == ["s95_5", "s90", "dense"]

    @pytest.mark.parametrize("text", ["0,0.5", "0.5,0.5", "1.0,0", "-0.1", "nan", "0.9;0.5", "", "0.9,"])
    def test_a_bad_ladder_is_refused(self, text):
        """Unordered, duplicate, out of range, not numbers."""
        with pytest.raises(LevelError):
            Ladder.parse(text)

    def test_sparsities_closer_than_a_name_shows_are_told_apart(self):
        """Names stay unique even where rounding would make them equal."""
        ladder = Ladder.from_sparsities([0.90000001, 0.9])
        assert len({level.name for level in ladder}) == 2

    @pytest.mark.parametrize("level", [-1, 3, 1.0, True, "0", None])
    def test_a_level_outside_is_refused(self, level):
        """Only 0..n-1 are levels; negative numbers never count from the end."""
        with pytest.raises(LevelError, match=r"0 .sparsest. to 2 .densest."):
            Ladder.from_sparsities([0.9, 0.5, 0.0]).check(level)

    def test_numpy_integers_are_levels(self):
        """A level may come out of an array."""
        assert Ladder.from_sparsities([0.9, 0.0])[np.int64(1)].name == "dense"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            '{"levels": []}',
            '{"levels": [{"name": "a"}]}',
            '{"levels": [{"name": "a", "sparsity": "x"}]}',
            '{"levels": [{"name": 3, "sparsity": 0.5}]}',
            '{"levels": [{"name": "a", "sparsity": 0.5, "colour": 1}]}',
            '{"levels": [{"name": "a", "sparsity": 0.5, "density": 2}]}',
            '{"levels": [{"name": "a", "sparsity": true}]}',
            '{"levels": [{"name": "a", "sparsity": NaN}]}',
        ],
    )
    def test_hostile_json_is_refused(self, text):
        """Only a LevelError comes out of a damaged ladder."""
        with pytest.raises(LevelError):
            Ladder.from_json(text)

    def test_what_was_measured_comes_back(self):
        """Accuracy, its interval, the samples and the metric."""
        level = Level(
            "a", 0.5, accuracy=0.9, accuracy_low=0.8, accuracy_high=0.95, samples=200, metric="top1"
        )
        assert Ladder.from_json(Ladder((level,)).to_json()) == Ladder((level,))

    @pytest.mark.parametrize(
        "figure", ['"samples": "many"', '"samples": true', '"samples": 1.5', '"metric": 5']
    )
    def test_a_figure_of_another_type_is_refused(self, figure):
        """Samples are counted, a metric has a name."""
        with pytest.raises(LevelError):
            Ladder.from_json('{"levels": [{"name": "a", "sparsity": 0.5, ' + figure + "}]}")

    def test_json_is_plain(self):
        """The serial form is what docs/format.md shows."""
        text = Ladder.from_sparsities([0.5]).to_json()
        assert json.loads(text) == {
            "levels": [
                {
                    "name": "s50",
                    "sparsity": 0.5,
                    "density": None,
                    "flops_fraction": None,
                    "accuracy": None,
                    "samples": None,
                    "accuracy_low": None,
                    "accuracy_high": None,
                    "metric": None,
                }
            ]
        }

    def test_measurements_need_one_value_a_level(self):
        """A short list is a mistake, not a partial measurement."""
        with pytest.raises(LevelError, match="One density per level"):
            Ladder.from_sparsities([0.9, 0.0]).measured(densities=[0.1])

    def test_levels_with_one_name_are_refused(self):
        """Names identify levels."""
        with pytest.raises(LevelError, match="unique"):
            Ladder((Level("a", 0.5), Level("a", 0.1)))
