"""The first sentence of a report, and which points nothing beats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.records import LEVELS, record, row

from elsa_edge.report.advice import advice, dense_rows, pareto
from elsa_edge.report.record import Check

numbers = st.floats(0, 100, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_the_front_is_what_no_other_point_beats(points):
    """Every point is beaten by, or equal to, one of the front; none of the front beats another."""

    def beats(a, b):
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    front = [points[i] for i in pareto(points)]
    assert not any(beats(a, b) for a in front for b in front)
    assert all(point in front or any(beats(best, point) for best in front) for point in points)


def test_dense_rows_are_the_fastest_of_each_precision():
    found = dense_rows(record())
    assert (found["float32"].variant, found["int8"].variant) == ("ort-nested", "ort-nested-int8")


class TestSentence:
    def test_the_cheapest_variant_whose_best_level_fits_is_shipped(self):
        """Both dense levels fit 12 ms and are equally accurate; float is the cheaper one over all levels."""
        text = advice(record())
        assert text.startswith("Ship ort-nested: ort-nested dense fits the budget of 12 ms with 10 ms at p95")
        assert "down to s95 (2.5 ms, accuracy 80.0%)" in text

    def test_a_tight_budget_takes_the_best_level_that_fits(self):
        text = advice(record(budget_ms=4.0))
        assert "s90 fits the budget of 4 ms" in text
        assert "accuracy 88.0%" in text

    def test_a_budget_that_nothing_meets_is_said_with_the_nearest(self):
        assert "Nothing meets the budget of 1 ms here: the fastest, ort-nested s95, takes 2.5 ms" in advice(
            record(budget_ms=1.0)
        )

    def test_zeros_that_save_no_time_are_not_praised(self):
        rows = tuple(row("ort-switch", k, 9.0) for k in range(3))
        assert "zeros save no time on this device" in advice(record(rows=rows, budget_ms=None))

    def test_a_dense_network_that_is_faster_is_shipped(self):
        rows = (*(row("ort-nested", k, ms) for k, ms in enumerate((5, 6, 9))), row("ort-levels", 2, 3.0))
        rows = (*rows, row("ort-levels", 0, 3.5), row("ort-levels", 1, 3.6))
        text = advice(
            record(rows=tuple(r for r in rows if r.variant == "ort-nested" or r.level == 2), budget_ms=None)
        )
        assert text.startswith("Ship ort-levels") or "Ship the dense network (ort-levels dense" in text

    def test_a_variant_with_wrong_numbers_is_never_shipped(self):
        wrong = tuple(Check(variant=name, level=0, ok=False) for name in ("ort-nested", "ort-nested-int8"))
        assert advice(record(checks=wrong)).startswith("Ship ort-switch")
        everything = (*wrong, Check(variant="ort-switch", level=1, ok=False))
        assert "computes other numbers" in advice(record(checks=everything))

    def test_unknown_accuracy_is_admitted(self):
        levels = tuple(level.model_copy(update={"accuracy": None}) for level in LEVELS)
        assert advice(record(levels=levels)).endswith("Accuracy is not known: measure it before you ship.")

    def test_nothing_measured_is_no_advice(self):
        assert "nothing was measured" in advice(record(rows=(row("ort-nested", 0),)))
