"""The level of a run that has less time than the policy gives: what still fits into the time left. Pure.

densest level, not above the controller's choice, whose predicted latency <= time left
"""

from __future__ import annotations

import math
from numbers import Real

from elsa_edge.control.estimate import is_known, predict
from elsa_edge.control.history import ChosenBy
from elsa_edge.control.plan import Plan
from elsa_edge.control.state import State
from elsa_edge.errors import InputError

__all__ = ["level_within", "time_left"]


def time_left(given_ms: object) -> float:
    """Return a time that a caller gives as a number; one beyond what a float holds is without end.

    Raises:
        InputError: When it is not a number: callers without a type checker give words, too.
    """
    if not isinstance(given_ms, bool) and isinstance(given_ms, Real):
        try:
            found_ms = float(given_ms)
        except OverflowError:
            found_ms = math.inf if given_ms == abs(given_ms) else -math.inf
        if not math.isnan(found_ms):
            return found_ms
    raise InputError("The time left must be a number of milliseconds", found=repr(given_ms))


def level_within(
    state: State, plan: Plan, time_left_ms: float, head_bytes: float = 0.0
) -> tuple[int, ChosenBy]:
    """Return the level to run when one run must end within a time of its own, and why it was chosen.

    The controller's choice already holds the budget and the memory, so nothing above it is taken, and nothing that
    needs more memory than is there. A level whose latency was neither measured nor observed is never counted on.

    Args:
        state: What the controller remembers.
        plan: The levels and the policy.
        time_left_ms: From now to the deadline; 0 or less when it has passed.
        head_bytes: Free memory beyond the reserve: what a level may need more than the controller's choice. A sparse
            level can need more than a dense one, whose weights it has in another form beside it.

    Raises:
        InputError: When the time is not a number.
    """
    time_left_ms = time_left(time_left_ms)
    here, memory = state.position, plan.memory_bytes
    if time_left_ms == math.inf:
        return plan.candidates[here], ChosenBy.CONTROLLER
    predicted = predict(state.estimate, plan, here, state.mean_stay_runs)
    usable = [
        p
        for p in range(here + 1)
        if memory[p] <= memory[here] + max(0.0, head_bytes)
        and (p == here or is_known(state.estimate, plan, p))
    ]
    limit = math.log(time_left_ms) if time_left_ms > 0.0 else -math.inf
    fitting = [p for p in usable if predicted[p] <= limit]
    if not fitting:
        fastest = min(usable, key=lambda p: (predicted[p], -p))
        return plan.candidates[fastest], ChosenBy.DEADLINE_SHORT
    best = max(fitting)
    return plan.candidates[best], ChosenBy.CONTROLLER if best == here else ChosenBy.DEADLINE
