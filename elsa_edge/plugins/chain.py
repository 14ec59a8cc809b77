"""A rerouted variant as one network: its segments in a row, with a question at each border.

    segment 0 -> border 0: which level for the rest? -> segment 1 -> border 1 ... -> outputs

It knows no clock: who asks for the level at a border decides (`elsa_edge.control.reroute`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from elsa_edge.bundle.manifest import Variant
from elsa_edge.bundle.rerouted import Rerouted, Segment, segment_role
from elsa_edge.plugins.described import Described
from elsa_edge.plugins.protocols import CacheState, CacheUse, MemoryUse, Opened, check_level
from elsa_edge.tensors import TensorSpec, check_inputs

__all__ = ["Chain", "segment_variants"]

Array = npt.NDArray[Any]
AtBorder = Callable[[int, int], int]


def segment_variants(variant: Variant) -> tuple[Variant, ...]:
    """Return the segments of a variant as small variants; the variant itself where it has none."""
    instructions = variant.instructions
    if not isinstance(instructions, Rerouted):
        return (variant,)
    parts = []
    for number, segment in enumerate(instructions.segments):
        start = segment_role(number, "")
        files = {
            role.removeprefix(start): path for role, path in variant.files.items() if role.startswith(start)
        }
        changes = {"files": files, "instructions": segment.instructions, "level_bytes": segment.level_bytes}
        parts.append(variant.model_copy(update=changes))
    return tuple(parts)


class Chain(Described):
    """Opened segments, which together satisfy `elsa_edge.plugins.Opened`.

    Args:
        segments: What each reads and makes.
        opened: The segments, in order; they are closed with the chain.
        inputs: Inputs of the whole network.
        outputs: Outputs of the whole network.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        opened: Sequence[Opened],
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
    ) -> None:
        super().__init__(inputs, outputs, opened[0].level_count)
        self._opened = tuple(opened)
        last_reader = {name: k for k, segment in enumerate(segments) for name in segment.inputs}
        self._steps = [
            (
                part.run,
                segment.inputs,
                segment.outputs,
                [name for name in segment.inputs if last_reader[name] == k and name not in outputs],
            )
            for k, (part, segment) in enumerate(zip(opened, segments, strict=True))
        ]
        # The first segment looks at what it is given; what only later ones read must be looked at before.
        self._first_sees_all = set(segments[0].inputs) == set(inputs)

    @property
    def cache(self) -> CacheState:
        """The state of the segment that says most: one that is off, or else the first."""
        states = [part.cache for part in self._opened]
        return next((state for state in states if state.use is CacheUse.OFF), states[0])

    @property
    def segment_count(self) -> int:
        """How many segments there are, one more than borders."""
        return len(self._steps)

    def run(self, inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        """Run one inference, all of it at `level`; see `Opened.run`."""
        return self.run_rerouted(inputs, level, lambda _, level: level)

    def run_rerouted(self, inputs: Mapping[str, Array], level: int, at_border: AtBorder) -> dict[str, Array]:
        """Run one inference that may go on at another level behind each border.

        Args:
            inputs: Input name -> array.
            level: The level of the first segment.
            at_border: Called with the number of the border and the level so far; answers the level of the rest.

        Raises:
            InputError: When an input's name, shape or type is wrong.
            LevelError: When there is no such level.
        """
        level = check_level(level, self._level_count)
        if not self._first_sees_all or inputs.keys() != self._inputs.keys():
            inputs = check_inputs(self._inputs, inputs)
        values = dict(inputs)
        for number, (run, reads, makes, done_with) in enumerate(self._steps):
            if number:
                level = at_border(number - 1, level)
            made = run({name: values[name] for name in reads}, level)
            for name in makes:
                values[name] = made[name]
            for name in done_with:  # what crosses a border may be large
                del values[name]
        return {name: values[name] for name in self._outputs}

    def memory(self) -> MemoryUse:
        """Return the memory need of all segments together."""
        parts = [part.memory() for part in self._opened]
        levels = zip(*(part.level_bytes for part in parts), strict=True)
        return MemoryUse(sum(part.base_bytes for part in parts), tuple(map(sum, levels)))

    def close(self) -> None:
        """Release the runtime and its memory. Closing twice is fine."""
        for part in self._opened:
            part.close()
