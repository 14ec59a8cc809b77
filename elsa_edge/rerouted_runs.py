"""Run a chain of segments against the clock: at each border the time that is left decides the level of the rest.

The decision is `elsa_edge.control.reroute`; here stand the clock, the border, and what segments were seen to take.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy.typing as npt

from elsa_edge.bundle.rerouted import Segment
from elsa_edge.control import Controller
from elsa_edge.control.history import Rerouting
from elsa_edge.control.reroute import Rest, first_parts, learn_parts, level_of_rest, quiet_ms
from elsa_edge.plugins.chain import Chain

__all__ = ["ReroutedRuns"]

Array = npt.NDArray[Any]
_MS_PER_S: Final = 1e3


class ReroutedRuns:
    """Inferences of one chain, each of which may become sparser on its way.

    Args:
        chain: The opened segments.
        segments: What the manifest says of them.
        clock_s: Monotonic clock in seconds.
    """

    def __init__(self, chain: Chain, segments: Sequence[Segment], clock_s: Callable[[], float]) -> None:
        self._chain = chain
        self._clock_s = clock_s
        self.parts = first_parts([segment.work[: chain.level_count] for segment in segments])

    def run(
        self,
        inputs: Mapping[str, Array],
        level: int,
        limit_ms: float | None,
        controller: Controller,
        head_bytes: float,
    ) -> tuple[dict[str, Array], Rerouting | None]:
        """Run one inference that begins at `level`.

        Args:
            inputs: Input name -> array.
            level: The level of the first segment.
            limit_ms: The time that it has from now; None to keep the level whatever happens.
            controller: What is believed of the levels.
            head_bytes: Free memory beyond the reserve.

        Returns:
            The outputs; and the change of level, if there was one.
        """
        usual = None if limit_ms is None else quiet_ms(controller.state, controller.plan, level, head_bytes)
        began_ms = self._clock_s() * _MS_PER_S
        at_ms = [began_ms]
        expected_ms = 0.0
        changed: tuple[int, float, float] | None = None
        last = level

        def at_border(border: int, now: int) -> int:
            nonlocal expected_ms, changed, last
            at_ms.append(self._clock_s() * _MS_PER_S)
            if usual is None or limit_ms is None:
                return now
            expected_ms += usual[now] * self.parts.rows[now][border]
            rests = [Rest(k, ms * self.parts.behind(k, border)) for k, ms in usual.items() if k <= now]
            chosen = level_of_rest(
                rests, elapsed_ms=at_ms[-1] - began_ms, expected_ms=expected_ms, limit_ms=limit_ms
            )
            if chosen.level != now and changed is None:
                changed = (border, at_ms[-1], rests[0].ms / chosen.ms if chosen.ms > 0.0 else 1.0)
            last = chosen.level
            return last

        outputs = self._chain.run_rerouted(inputs, level, at_border)
        at_ms.append(self._clock_s() * _MS_PER_S)
        if changed is None:
            segment_ms = [end - start for start, end in itertools.pairwise(at_ms)]
            if min(segment_ms) >= 0.0:  # else the clock went back
                self.parts = learn_parts(self.parts, level, segment_ms)
            return outputs, None
        border, border_ms, longer = changed
        whole_ms = (border_ms - began_ms) + longer * (at_ms[-1] - border_ms)
        return outputs, Rerouting(border, last, max(whole_ms, at_ms[-1] - began_ms))
