"""Task metrics against plain loops, and the coverage of their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.errors import InputError, UnknownNameError, UsageError
from elsa_edge.evaluate.metrics import METRICS, metric_named, own_figure, wilson


def figure(name, outputs, labels):
    metric = METRICS[name]
    return metric.figure(metric.evidence(np.asarray(outputs), np.asarray(labels)))


def test_top1_is_the_share_that_is_right():
    """Two of three, with Wilson's interval of 2 in 3."""
    found = figure("top1", [[1.0, 2.0], [3.0, 1.0], [0.0, 1.0]], [1, 0, 0])
    assert found.accuracy == pytest.approx(2 / 3)
    assert (found.low, found.high) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert found.samples == 3


@given(right=st.integers(0, 40), more=st.integers(0, 40))
def test_wilson_holds_the_share_and_stays_in_the_unit_interval(right, more):
    """Also at 0 and at 1, where the normal interval has no width."""
    count = right + more
    if not count:
        return
    low, high = wilson(right, count)
    assert 0.0 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1.0
    assert high - low > 0.0


def test_miou_is_the_mean_over_classes_of_all_samples_together():
    """Against sets of pixels; 255 does not count."""
    generator = np.random.default_rng(0)
    outputs, labels = generator.standard_normal((5, 3, 6, 7)), generator.integers(0, 3, (5, 6, 7))
    labels[0, 0] = 255
    answer = outputs.argmax(1)
    kept = labels != 255
    shares = []
    for c in range(3):
        a, b = (answer == c) & kept, (labels == c) & kept
        shares.append((a & b).sum() / (a | b).sum())
    found = figure("miou", outputs, labels)
    assert found.accuracy == pytest.approx(np.mean(shares))
    assert found.low <= found.accuracy <= found.high


def test_mse_says_the_error_and_the_share_of_the_variance():
    """A perfect answer is 1; the mean of the labels is 0."""
    labels = np.arange(12.0).reshape(6, 2)
    assert figure("mse", labels, labels).accuracy == 1.0
    flat = figure("mse", np.full_like(labels, labels.mean()), labels)
    assert flat.accuracy == pytest.approx(0.0)
    assert flat.value == pytest.approx(labels.var())


@pytest.mark.parametrize(
    ("name", "outputs", "labels", "words"),
    [
        ("top1", np.zeros((2, 3)), np.array([0, 3]), "no class of the network: expected 0 to 2, found 3"),
        ("top1", np.zeros((2, 3)), np.array([-1, 0]), "found -1"),
        ("top1", np.zeros((2, 3)), np.array([0.5, 0]), "whole numbers"),
        ("top1", np.zeros((2, 3)), np.zeros((2, 3)), "do not fit"),
        ("miou", np.zeros((1, 2, 4, 4)), np.full((1, 4, 4), 7), "no class"),
        ("mse", np.zeros((2, 3)), np.zeros(2), "do not fit"),
    ],
)
def test_labels_that_do_not_fit(name, outputs, labels, words):
    """Expected and found are named."""
    with pytest.raises(InputError, match=words):
        figure(name, outputs, labels)


def test_a_metric_of_the_users():
    """One number has no interval; one for each sample has."""
    assert own_figure("m:f", 0.25, 8).low is None
    each = own_figure("m:f", np.array([0.0, 1.0, 1.0, 0.0]), 4)
    assert each.accuracy == 0.5
    assert each.low < 0.5 < each.high
    for wrong in (1.5, np.zeros(3), "good"):
        with pytest.raises(UsageError):
            own_figure("m:f", wrong, 4)


def test_a_name_that_is_no_metric():
    """The nearest is suggested."""
    with pytest.raises(UnknownNameError, match="Nearest: 'top1'"):
        metric_named("top5")
