"""One controller per reference: a larger batch or image, or another CPU quota, is not a slower device.

    reference(size, share) = reference * elements(size) / elements(first size) * first share / share

The size and the share of processor time that come first are those that the measured table stands for. What is learned
at one says nothing about another, and when it comes back, so does what was known about it; of sizes beyond the latest
few nothing is kept.

A quota does not stretch all levels alike: a run that ends within the quota of a period is not slowed at all, so that a
sparse level sees nothing of what a dense one would meet. The ratio is therefore a guess from which each level may
deviate. And a quota does not pass by itself as a disturbance does, but is announced when it changes: under less than
the first share a denser level is tried more rarely. A change of the quota never raises the level at once, nor does it
begin the wait for a denser one anew: however often it changes, that wait is the session's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from elsa_edge.control.controller import Controller
from elsa_edge.control.plan import Plan
from elsa_edge.errors import InputError

__all__ = ["References", "require_samples"]

_KEPT_SIZES: Final = 8
_NO_SCALE_VARIANCE: Final = 25.0  # the ratio of elements is a guess: anything from microseconds to minutes
_QUOTA_VARIANCE: Final = 0.6**2  # of the log ratio between a level's time under a quota and its time / share
_QUOTA_STAY: Final = 20.0  # dwell times under a quota, before a denser level is entered
_SHARE_STEPS: Final = 20.0  # shares closer than a twentieth are one; so many there can be of each size

_Shapes = tuple[tuple[int, ...], ...]


class References:
    """Controllers of one session, by the shapes of its inputs and the processor time that it may use.

    Args:
        first: The controller of the first reference.
    """

    def __init__(self, first: Controller) -> None:
        self._first = first
        self._first_elements = 0
        self._first_share = self._share = 1.0
        self._latest: tuple[_Shapes, float | None] | None = None
        self._now = first
        self._before = first, 1.0
        self._known: OrderedDict[_Shapes, dict[float, Controller]] = OrderedDict()

    def at(
        self,
        inputs: Mapping[str, Any],
        now_ms: float,
        available_bytes: float | None,
        cpu_share: float | None = None,
    ) -> Controller:
        """Return the controller for these inputs and this quota.

        Args:
            inputs: Input name -> array; what has no shape counts as one size.
            now_ms: The session's clock.
            available_bytes: Free memory, for a reference that is new.
            cpu_share: Share of the processor time that a run asks for which its control groups allow; None for all.
        """
        shapes: _Shapes = tuple([_shape(array) for array in inputs.values()])
        if (shapes, cpu_share) != self._latest:
            # Without measured levels there is nothing to scale, and what was learned is worth more: a slower device.
            share = _rounded(cpu_share) if self._first.plan.all_measured else 1.0
            before, before_share = self._before = self._now, self._share
            self._latest, self._share = (shapes, cpu_share), share
            self._now = self._controller(shapes, share, now_ms, available_bytes)
            if share != before_share:
                self._now.take_over(before, now_ms)
        return self._now

    def refused(self) -> Controller:
        """Forget the reference of inputs that did not run, and return the controller before: nothing ran at it."""
        if self._now.state.runs == 0:
            shapes, shares = next(reversed(self._known.items()))
            del shares[self._share]
            if not shares:
                del self._known[shapes]
            self._first_elements = self._first_elements if self._known else 0
            (self._now, self._share), self._latest = self._before, None
        return self._now

    def _controller(
        self, shapes: _Shapes, share: float, now_ms: float, available_bytes: float | None
    ) -> Controller:
        shares = self._known.setdefault(shapes, {})
        self._known.move_to_end(shapes)
        if share in shares:
            return shares[share]
        elements = max(1, sum(map(math.prod, shapes)))
        if not self._first_elements:
            self._first_elements, self._first_share = elements, share
            shares[share] = self._first
            return self._first
        plan = self._first.plan
        if elements != self._first_elements:
            plan = _resized(plan, elements / self._first_elements)
        if share != self._first_share:
            plan = _limited(plan, share / self._first_share)
        if len(self._known) > _KEPT_SIZES:
            self._known.popitem(last=False)
        shares[share] = Controller(plan, now_ms=now_ms, available_bytes=available_bytes)
        return shares[share]


def require_samples(inputs: Mapping[str, Any]) -> None:
    """Refuse inputs that are all empty: they take no time at any level, and would stand for a network that takes none.

    Args:
        inputs: Input name -> array.

    Raises:
        InputError: When no array has an element. Without any array it is for others to say what is missing.
    """
    shapes = {name: _shape(array) for name, array in inputs.items()}
    if shapes and not any(map(math.prod, shapes.values())):
        raise InputError(
            "The inputs are empty",
            expected="one sample at least",
            found=", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items()),
        )


def _shape(array: object) -> tuple[int, ...]:
    shape = getattr(array, "shape", ())
    return shape if isinstance(shape, tuple) and all(isinstance(size, int) for size in shape) else ()


def _rounded(cpu_share: float | None) -> float:
    share = 1.0 if cpu_share is None else min(1.0, cpu_share)
    return max(1.0, round(share * _SHARE_STEPS)) / _SHARE_STEPS


def _resized(plan: Plan, ratio: float) -> Plan:
    return replace(
        plan,
        reference_log_ms=tuple(value + math.log(ratio) for value in plan.reference_log_ms),
        shared_variance=_NO_SCALE_VARIANCE,
    )


def _limited(plan: Plan, share: float) -> Plan:
    """Return the plan under a share of the processor time that its references stand for."""
    dwell_ms = plan.policy.dwell_ms * (_QUOTA_STAY if share < 1.0 else 1.0)
    return replace(
        plan,
        policy=replace(plan.policy, dwell_ms=dwell_ms),
        reference_log_ms=tuple(value - math.log(share) for value in plan.reference_log_ms),
        residual_variance=tuple(max(_QUOTA_VARIANCE, value) for value in plan.residual_variance),
        shared_variance=max(_QUOTA_VARIANCE, plan.shared_variance),
    )
