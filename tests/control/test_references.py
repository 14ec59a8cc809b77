"""Another size of the inputs, or another share of processor time, is another reference."""

from __future__ import annotations

import itertools
import math
import random
from types import SimpleNamespace

import pytest

from elsa_edge.control import Controller, Observation, Policy, make_plan
from elsa_edge.control.references import References

ONE = {"x": SimpleNamespace(shape=(1, 3))}
FOUR = {"x": SimpleNamespace(shape=(4, 3))}


@pytest.fixture
def references(ladder):
    return References(Controller(make_plan(ladder(2.0, 4.0, 8.0), Policy(budget_ms=10.0))))


def test_references_come_back_and_scale_with_elements_and_with_the_share(references):
    first = references.at(ONE, 0.0, None, 1.0)
    limited = references.at(ONE, 1.0, None, 0.5)
    larger = references.at(FOUR, 2.0, None, 0.5)

    assert references.at(ONE, 3.0, None, 1.0) is first
    assert references.at(ONE, 4.0, None, 0.51) is limited
    assert limited.plan.reference_log_ms[0] == pytest.approx(math.log(4.0))
    assert larger.plan.reference_log_ms[0] == pytest.approx(math.log(16.0))
    assert limited.plan.policy.dwell_ms > first.plan.policy.dwell_ms


def test_the_share_that_comes_first_is_the_one_that_the_table_stands_for(references):
    """A network that was measured inside its container is not slowed a second time."""
    first = references.at(ONE, 0.0, None, 0.5)

    assert first.plan.reference_log_ms[0] == pytest.approx(math.log(2.0))
    assert references.at(ONE, 1.0, None, 1.0).plan.reference_log_ms[0] == pytest.approx(0.0)


def test_a_change_of_the_quota_lowers_the_level_at_once_but_never_raises_it(references):
    dense = references.at(ONE, 0.0, None, None)
    assert dense.level == 2
    sparse = references.at(ONE, 1.0, None, 0.25)
    assert sparse.level == 0
    assert references.at(ONE, 2.0, None, None) is dense
    assert dense.level == 0
    assert dense.state.switched_ms == 1.0  # it has waited since it fell


def test_more_cores_than_the_threads_need_are_no_reference_of_their_own(references):
    assert references.at(ONE, 0.0, None, 4.0) is references.at(ONE, 1.0, None, 1.0)
    assert references.at(ONE, 2.0, None, 0.99) is references.at(ONE, 3.0, None, None)


def test_a_quota_on_levels_that_were_never_measured_is_a_slower_device(ladder):
    """What was learned of them is not thrown away."""
    references = References(Controller(make_plan(ladder(None, None), Policy(budget_ms=10.0))))

    assert references.at(ONE, 0.0, None, 1.0) is references.at(ONE, 1.0, None, 0.25)


def test_only_the_latest_references_are_kept(references):
    first = references.at(ONE, 0.0, None)
    for k in range(2, 20):
        references.at({"x": SimpleNamespace(shape=(k, 3))}, float(k), None)

    assert references.at(ONE, 30.0, None) is not first


@pytest.mark.parametrize("every_ms", [200.0, 1000.0, 5000.0])
@pytest.mark.parametrize("count", [2, 9, 12, 16])
def test_shares_that_change_all_the_time_do_not_starve_a_dense_level(ladder, count, every_ms):
    """The wait before a denser level is the session's: another share does not begin it anew."""
    medians = (2.0, 4.0, 8.0)
    references = References(Controller(make_plan(ladder(*medians), Policy(budget_ms=100.0))))
    now, levels = 0.0, []
    while now < 60_000.0:
        share = 1.0 if now < 2000.0 else 0.05 if now < 4000.0 else 0.25 + 0.05 * (now // every_ms % count)
        controller = references.at(ONE, now, None, share)
        latency_ms = medians[controller.level] / share
        levels.append((now, controller.level))
        now += latency_ms
        controller.observe(Observation(now_ms=now, level=levels[-1][1], latency_ms=latency_ms))

    assert max(level for moment, level in levels if 3000.0 < moment < 4000.0) < 2
    # Twenty stays of half a second, and the runs that a climb takes.
    assert {level for moment, level in levels if moment > 20_000.0} == {2}


def test_a_quota_that_is_seen_first_with_inputs_that_are_refused_raises_no_level_either(references):
    references.at(ONE, 0.0, None, None)
    sparse = references.at(ONE, 1.0, None, 0.25)
    sparse.observe(Observation(now_ms=2.0, level=0, latency_ms=8.0))
    references.at(FOUR, 3.0, None, 0.5)

    assert references.refused() is sparse
    assert references.at(ONE, 4.0, None, 0.5).level == 0


def test_a_share_that_comes_back_is_known_however_many_there_were(references):
    first = references.at(ONE, 0.0, None, 1.0)
    for k in range(1, 20):
        references.at(ONE, float(k), None, k / 20.0)

    assert references.at(ONE, 30.0, None, 1.0) is first


PERIOD_MS = 4.0
BUDGET_MS = 8.8


def through(cpu_ms: float, phase_ms: float, share: float) -> float:
    """Return how long a run of some processor time takes under a quota that is refilled once a period."""
    if share >= 1.0:
        return cpu_ms
    quota_ms, rest_ms = share * PERIOD_MS, PERIOD_MS - phase_ms
    if cpu_ms <= min(quota_ms, rest_ms):
        return cpu_ms
    left_ms = cpu_ms - min(quota_ms, rest_ms)
    periods = math.ceil(left_ms / quota_ms - 1e-9) - 1
    return rest_ms + periods * PERIOD_MS + left_ms - periods * quota_ms


def plateaus(ladder, *, told: bool) -> list[list[int]]:
    """Return the levels of 600 runs at each of four quotas; `told`: whether the quota is read."""
    generator = random.Random(3)
    medians = (1.2, 2.6, 5.2)
    references = References(Controller(make_plan(ladder(*medians), Policy(budget_ms=BUDGET_MS))))
    now, found = 0.0, []
    for share in (1.0, 0.5, 0.25, 1.0):
        levels = []
        for run in range(600):
            # It is read four times a second.
            controller = references.at(ONE, now, None, share if told and (run > 25 or found) else None)
            level = controller.level
            cpu_ms = medians[level] * math.exp(generator.gauss(0.0, 0.05))
            latency_ms = through(cpu_ms, generator.uniform(0.0, PERIOD_MS), share)
            controller.observe(Observation(now_ms=now + latency_ms, level=level, latency_ms=latency_ms))
            now += max(latency_ms, 9.8)
            levels.append(level)
        found.append(levels)
    return found


def test_no_flip_flop_on_the_steps_of_a_quota_that_is_read(ladder):
    """A sparse level ends within the quota of a period and tells nothing of the dense one, which does not."""
    read, unread = plateaus(ladder, told=True), plateaus(ladder, told=False)

    def most(found):
        return max(sum(a != b for a, b in itertools.pairwise(levels)) for levels in found)

    assert most(read) <= 2 < most(unread)
    assert [levels[-1] for levels in read] == [2, 1, 0, 2]


QUOTA_PERIOD_MS = 10.0


class Quota:
    """Processor time as a control group gives it out: a share of each period, at its beginning."""

    def __init__(self) -> None:
        self.share, self._period, self._left_ms = 1.0, 0, QUOTA_PERIOD_MS

    def spend(self, now_ms: float, cpu_ms: float) -> float:
        """Return when a run of some processor time ends."""
        self._refill(now_ms)
        while True:
            spent = min(cpu_ms, self._left_ms, (self._period + 1) * QUOTA_PERIOD_MS - now_ms)
            now_ms, cpu_ms, self._left_ms = now_ms + spent, cpu_ms - spent, self._left_ms - spent
            if cpu_ms <= 1e-9:
                return now_ms
            now_ms = (self._period + 1) * QUOTA_PERIOD_MS + 1e-9
            self._refill(now_ms)

    def others(self, cpu_ms: float) -> None:
        """The rest of the process spends some, too."""
        self._left_ms -= min(self._left_ms, cpu_ms)

    def _refill(self, now_ms: float) -> None:
        if now_ms // QUOTA_PERIOD_MS != self._period:
            self._period, self._left_ms = int(now_ms // QUOTA_PERIOD_MS), self.share * QUOTA_PERIOD_MS


@pytest.mark.parametrize("seed", [0, 1])
def test_a_sparser_level_that_was_not_seen_under_a_quota_is_tried_where_this_one_is_late(ladder, seed):
    """By a guess alone it looked no faster than the level in use, which was late for the whole plateau."""
    generator, quota, medians = random.Random(seed), Quota(), (1.8, 2.6, 5.3)
    references = References(Controller(make_plan(ladder(*medians), Policy(budget_ms=BUDGET_MS))))
    now, levels = 0.0, []
    for run in range(1100):
        quota.share = 1.0 if run < 550 else 0.4
        controller = references.at(ONE, now, None, quota.share)
        level = controller.level
        quota.others(1.5 * generator.expovariate(1.0))
        end = quota.spend(now, medians[level] * math.exp(generator.gauss(0.0, 0.05)))
        controller.observe(Observation(now_ms=end, level=level, latency_ms=end - now))
        now = max(end, now + 9.6)
        levels.append(level)
    plateau = levels[550:]

    assert plateau[-275:] == [0] * 275
    assert sum(a != b for a, b in itertools.pairwise(plateau)) <= 2
