"""What governs one session: the clock, the watched device, the controllers and the ledger, around each run.

    begin  inputs -> level                the reference is found, the device looked at where that is due
    end    how long it took -> an event   the device is looked at, the level of the next run decided

The decisions are pure and lie elsewhere in this room. Here is the order in which they are asked, and with what.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from elsa_edge.control.controller import Controller
from elsa_edge.control.deadline import level_within
from elsa_edge.control.history import ChosenBy, Rerouting, RunEvent
from elsa_edge.control.ledger import Ledger, decide_together
from elsa_edge.control.plan import LevelFacts, make_plan
from elsa_edge.control.policy import Policy
from elsa_edge.control.references import References, require_samples
from elsa_edge.control.shapes import ProbeSettings, QosSettings
from elsa_edge.control.state import Decision, Observation, Reason
from elsa_edge.control.watch import SteadyClock, Watch
from elsa_edge.errors import InputError, ProfileError

__all__ = ["Begun", "Governor"]

_LONGEST_RUN_MS: Final = 1e10  # four months: beyond it the clock is wrong, not the network slow


class Begun(NamedTuple):
    """A run that begins.

    Attributes:
        level: The level to run at.
        chosen_by: Who chose it.
        limit_ms: The time it has; None for no limit.
        may_reroute: Whether its level may change on the way: not where the caller chose it.
        began_ms: When it began, by the session's clock.
        set_back_ms: By how much the clock had been set back then.
    """

    level: int
    chosen_by: ChosenBy
    limit_ms: float | None
    may_reroute: bool
    began_ms: float
    set_back_ms: float


class Governor:
    """Decides the level of each run of a session, and learns from how it went.

    Args:
        facts: What is known of the levels, sparsest first.
        qos: The policy.
        probes: What to read of the device.
        threads: Threads of the runtime, which a CPU quota is shared by.
        clock_s: Monotonic clock in seconds.
        ledger: What agrees changes of memory with other sessions of the device.

    Attributes:
        controller: The controller of the latest run's size and quota.
        notes: Sentences for people: levels that are left out, figures unknown, a ledger that cannot be written.

    Raises:
        ProfileError: When the minimum accuracy cannot be held.
    """

    def __init__(
        self,
        facts: Sequence[LevelFacts],
        qos: QosSettings,
        probes: ProbeSettings,
        *,
        threads: int,
        clock_s: Callable[[], float],
        ledger: Ledger | None = None,
    ) -> None:
        self._facts, self._qos, self._threads, self._ledger = facts, qos, threads, ledger
        self._clock = SteadyClock(clock_s)
        self._watch = Watch(probes, qos.memory_pressure_percent)
        # Of each level, by the figures that the plan has; without them nothing is known to differ.
        needs = [one.memory_bytes for one in facts]
        self._level_bytes = [0 if None in needs else need or 0 for need in needs]
        self._watch.in_use_bytes = min(self._level_bytes)  # what all levels share is loaded
        self._unloadable: dict[int, str] = {}
        self._ended_ms: float | None = None
        self.controller = self._start()

    def _start(self) -> Controller:
        """Return a controller of the levels that can be loaded, which has seen nothing yet."""
        plan = make_plan(self._facts, Policy.from_qos(self._qos), self._unloadable)
        self.notes: tuple[str, ...] = plan.notes
        now_ms = self._clock.now_ms()
        self._watch.read(now_ms)
        controller = Controller(plan, now_ms=now_ms, available_bytes=self._free_at_smallest())
        self._references = References(controller)
        return controller

    def begin(self, inputs: Mapping[str, Any], level: int | None, within_ms: float | None) -> Begun:
        """Choose the level of a run.

        Args:
            inputs: Input name -> array.
            level: The caller's choice, if it has made one.
            within_ms: The time of this run, where it is not the budget.

        Raises:
            InputError: When all inputs are empty, or both a level and a time are given.
        """
        began_ms, set_back_ms = self._clock.now_ms(), self._clock.set_back_ms
        cores, before = self._watch.reading.cpu_cores, self.controller
        share = None if cores is None else cores / self._threads
        self.controller = self._references.at(inputs, began_ms, self._free_at_smallest(), share)
        try:
            require_samples(inputs)
            if level is None:
                # What comes back knows its level, but not how much memory there is now.
                returns = self.controller is not before and self.controller.state.runs > 0
                self._refresh(began_ms, at_once=returns)
                began_ms = self._clock.now_ms()
            chosen, chosen_by = self._choose(level, within_ms)
        except BaseException:
            self.refused()
            raise
        limit_ms = self._qos.latency_budget_ms if within_ms is None else within_ms
        return Begun(chosen, chosen_by, limit_ms, level is None, began_ms, set_back_ms)

    def refused(self) -> None:
        """Whatever stopped it: nothing ran with these inputs, so that they stand for nothing."""
        self.controller = self._references.refused()

    def leave_out(self, level: int, problem: str) -> bool:
        """Do without a level that cannot be loaded; tell whether another one is left."""
        self._unloadable[level] = problem
        try:
            self.controller = self._start()
        except ProfileError:
            return False
        self.controller.decision = self.controller.decision._replace(reason=Reason.UNLOADABLE)
        return True

    def end(self, run: Begun, rerouted: Rerouting | None) -> RunEvent | None:
        """Learn from a run that has ended, and decide for the next.

        Args:
            run: As `begin` returned it.
            rerouted: The change of level inside the inference, if there was one.

        Returns:
            What happened; None where the clock tells no time.
        """
        self._watch.in_use_bytes = self._level_bytes[run.level]
        ended_ms = self._clock.now_ms()
        latency_ms = ended_ms - run.began_ms
        if not 0.0 <= latency_ms <= _LONGEST_RUN_MS or self._clock.set_back_ms != run.set_back_ms:
            return (
                None  # the clock went back or is none: finished outputs are worth more than what it teaches
            )
        reading = self._watch.read(ended_ms)
        decision = self._observe(
            Observation(
                now_ms=ended_ms,
                level=run.level,
                # What the level would have taken: that it was left for want of time must teach.
                latency_ms=latency_ms if rerouted is None else rerouted.whole_ms,
                available_bytes=self._free_at(self.controller.level),
                pressure_percent=reading.pressure_percent,
                temperature_c=reading.heat_c,
            )
        )
        idle_ms = 0.0 if self._ended_ms is None else max(0.0, run.began_ms - self._ended_ms)
        self._ended_ms = ended_ms
        return RunEvent(
            now_ms=ended_ms,
            level=run.level,
            chosen_by=run.chosen_by,
            latency_ms=latency_ms,
            limit_ms=run.limit_ms,
            idle_ms=idle_ms,
            available_bytes=self._free_at(run.level),
            pressure_percent=reading.pressure_percent,
            temperature_c=reading.temperature_c,
            decision=decision,
            rerouted=rerouted,
            throttled=reading.throttled,
            clock_share=reading.clock_share,
            power_w=reading.power_w,
        )

    def head_bytes(self) -> float:
        """Return the free memory beyond the reserve at the controller's level; without limit where none is read."""
        free = self._free_at(self.controller.level)
        reserve_bytes = self.controller.plan.policy.reserve_bytes
        return math.inf if free is None else max(0.0, free - reserve_bytes)

    def close(self) -> None:
        """Watch no longer."""
        self._watch.close()

    def _choose(self, level: int | None, within_ms: float | None) -> tuple[int, ChosenBy]:
        if level is not None:
            if within_ms is not None:
                raise InputError(
                    "A run has either a level or a time to end within, not both", fix="Leave one of them out"
                )
            return level, ChosenBy.CALLER
        if within_ms is None:
            return self.controller.level, ChosenBy.CONTROLLER
        return level_within(self.controller.state, self.controller.plan, within_ms, self.head_bytes())

    def _refresh(self, now_ms: float, *, at_once: bool) -> None:
        """After an idle time the memory may be another: look before running, not only after."""
        if at_once or self._watch.is_due(now_ms):
            reading = self._watch.read(now_ms)
            self._observe(
                Observation(
                    now_ms=now_ms,
                    available_bytes=self._free_at(self.controller.level),
                    pressure_percent=reading.pressure_percent,
                    temperature_c=reading.heat_c,
                )
            )

    def _observe(self, observation: Observation) -> Decision:
        if self._ledger is None:
            return self.controller.observe(observation)
        decision = decide_together(self.controller, observation, self._ledger)
        if self._ledger.problem is not None and self._ledger.problem not in self.notes:
            self.notes = (*self.notes, self._ledger.problem)
        return decision

    def _free_at(self, level: int) -> int | None:
        """Return the free memory as it would be with a level in use, by the latest reading."""
        return self._watch.free_bytes(self._level_bytes[level])

    def _free_at_smallest(self) -> int | None:
        return self._watch.free_bytes(min(self._level_bytes))
