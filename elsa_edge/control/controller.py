"""The controller as an object that remembers its state, for callers that do not want to."""

from __future__ import annotations

from elsa_edge.control.begin import start
from elsa_edge.control.decide import step
from elsa_edge.control.estimate import predict
from elsa_edge.control.plan import Plan
from elsa_edge.control.state import Decision, Observation, Reason, State

__all__ = ["Controller"]


class Controller:
    """Holds a plan and the latest state and decision.

    Args:
        plan: From `make_plan`.
        now_ms: The caller's monotonic clock.
        available_bytes: Free memory after loading what all levels share; None where it is unknown.

    Attributes:
        plan: The levels and the policy.
        state: What is remembered.
        decision: The latest decision.
    """

    def __init__(self, plan: Plan, *, now_ms: float = 0.0, available_bytes: float | None = None) -> None:
        self.plan = plan
        self.state: State
        self.decision: Decision
        self.state, self.decision, _ = start(plan, now_ms=now_ms, available_bytes=available_bytes)

    @property
    def level(self) -> int:
        """The level to run next."""
        return self.decision.level

    def observe(self, observation: Observation) -> Decision:
        """Take in a run (or only the free memory) and decide the next level.

        Raises:
            InputError: When the observation has a time, latency or level that cannot be.
        """
        self.state, self.decision, _ = step(self.state, observation, self.plan)
        return self.decision

    def take_over(self, before: Controller, now_ms: float) -> None:
        """Go on after another controller, no denser than at its level: memory and heat are as they were for that one.

        Below that level, it is the most valuable one that this controller expects to fit. The wait before a denser
        level goes on: a level that stays began with the other controller.

        Args:
            before: The controller of the runs before.
            now_ms: The caller's monotonic clock.
        """
        position = self._at_most(self.plan.positions[before.level], now_ms)
        if position != self.state.position:
            level = self.plan.candidates[position]
            self.decision = self.decision._replace(level=level, reason=Reason.HOLD, predicted_ms=None)
            self.state = self.state._replace(
                position=position, runs_here=0, fits_above=0, trial_left=0, probe_left=0
            )
        stayed = self.level == before.level
        self.state = self.state._replace(switched_ms=before.state.switched_ms if stayed else now_ms)

    def _at_most(self, highest: int, now_ms: float) -> int:
        """Return the most valuable candidate up to one that may be entered at once, or else the present one."""
        state, here = self.state, self.state.position
        if highest <= here:
            return here if highest < 0 else highest
        predicted = predict(state.estimate, self.plan, here, state.mean_stay_runs)
        return max(
            p
            for p in range(here, highest + 1)
            if p == here or (predicted[p] <= self.plan.up_log_ms and state.blocked_until_ms[p] <= now_ms)
        )
